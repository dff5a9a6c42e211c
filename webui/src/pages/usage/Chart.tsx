import { type RefObject, useEffect, useId, useRef, useState } from "react";
import { Bar, BarChart, CartesianGrid, Tooltip, XAxis, YAxis } from "recharts";
import { dayWords } from "@/lib/days";
import { exactNumber, shortNumber } from "@/lib/numbers";
import styles from "./ChartCard.module.css";
import { colourOf, type Look } from "./looks";
import { Swatch, Texture } from "./Swatch";
import type { DayStack } from "./sums";

export interface ChartProps {
  /** What it shows, for those who do not see it. */
  label: string;
  unit: string;
  stacks: readonly DayStack[];
  /** The names of what is stacked, from below. */
  models: readonly string[];
  looks: ReadonlyMap<string, Look>;
}

/** A year fits on a desk. Narrower bars are no bars; then the chart is wider than its place and scrolls. */
const DAY_WIDTH = 2.5;
/** In less, the numbers of a day have no room beside the pointer. */
const ROOM = 480;
const AXIS_WIDTH = 52;
const WIDEST_BAR = 40;

/** Bars per day, stacked by model, from a line at zero. */
export default function Chart({ label, unit, stacks, models, looks }: ChartProps) {
  const id = useId();
  const parts = models.map((model, index) => {
    const look = looks.get(model) ?? { colour: 1, striped: false };
    return { model, index, look, texture: `${id}${index}` };
  });
  const plot = useRef<HTMLDivElement>(null);
  const [aside, setAside] = useState<HTMLElement | null>(null);
  const { roomy, scrolls } = useRoom(plot, stacks.length);
  return (
    <>
      <div ref={plot} className={styles.plot}>
        <BarChart
          responsive
          className={styles.chart ?? ""}
          style={{ width: "100%", minWidth: stacks.length * DAY_WIDTH + AXIS_WIDTH }}
          data={[...stacks]}
          margin={{ top: 8, right: 8, bottom: 0, left: 0 }}
          barCategoryGap={stacks.length > 100 ? 0 : stacks.length > 45 ? 1 : "20%"}
          aria-label={label}
        >
          <defs>
            {parts.map(
              ({ look, texture }) => look.striped && <Texture key={texture} id={texture} look={look} />,
            )}
          </defs>
          <CartesianGrid vertical={false} stroke="var(--line)" />
          <XAxis
            dataKey="day"
            tickFormatter={(day: string) => dayWords(day, "short")}
            tick={{ fill: "var(--quiet)" }}
            tickLine={false}
            axisLine={{ stroke: "var(--line-strong)" }}
            interval="preserveStartEnd"
            minTickGap={24}
            tickMargin={8}
          />
          <YAxis
            width={AXIS_WIDTH}
            orientation={scrolls ? "right" : "left"}
            // Where nothing was used the line at zero must still have something above it.
            domain={[0, stacks.some((stack) => stack.total > 0) ? "auto" : 1]}
            allowDecimals={false}
            tickFormatter={shortNumber}
            tick={{ fill: "var(--quiet)" }}
            tickLine={false}
            axisLine={false}
          />
          <Tooltip
            isAnimationActive={false}
            cursor={{ fill: "var(--hover)" }}
            wrapperStyle={{ zIndex: 10 }}
            portal={roomy ? null : aside}
            content={({ active, payload }) => {
              const stack: DayStack | undefined = payload?.[0]?.payload;
              return active && stack ? <Day stack={stack} parts={parts} unit={unit} /> : null;
            }}
          />
          {parts.map(({ model, index, look, texture }) => (
            <Bar
              key={model}
              dataKey={(stack: DayStack) => stack.counts[index] ?? 0}
              name={model}
              stackId="models"
              fill={look.striped ? `url(#${texture})` : colourOf(look)}
              maxBarSize={WIDEST_BAR}
              isAnimationActive={false}
            />
          ))}
        </BarChart>
      </div>
      {!roomy && <div ref={setAside} className={styles.aside} />}
    </>
  );
}

/** Whether there is room beside the pointer, and whether the chart is wider than its place: then it begins at its end. */
function useRoom(plot: RefObject<HTMLDivElement | null>, days: number) {
  const [room, setRoom] = useState({ roomy: true, scrolls: false });
  // biome-ignore lint/correctness/useExhaustiveDependencies: with the number of days the chart's width changes
  useEffect(() => {
    const element = plot.current;
    if (element === null) return;
    element.scrollLeft = element.scrollWidth;
    const observer = new ResizeObserver(() => {
      const scrolls = element.scrollWidth > element.clientWidth;
      setRoom({ roomy: !scrolls && element.clientWidth >= ROOM, scrolls });
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, [plot, days]);
  return room;
}

interface Part {
  model: string;
  index: number;
  look: Look;
}

/** The numbers of one day, in the order of the stack from above. */
function Day({ stack, parts, unit }: { stack: DayStack; parts: readonly Part[]; unit: string }) {
  return (
    <div className={styles.tooltip} role="status">
      <h3>{dayWords(stack.day, "weekday")} (UTC)</h3>
      {[...parts].reverse().map(({ model, index, look }) => (
        <div key={model} className={styles.line}>
          <Swatch look={look} />
          <span className={styles.model}>{model}</span>
          <span className={styles.number}>{exactNumber(stack.counts[index] ?? 0)}</span>
        </div>
      ))}
      <div className={`${styles.line} ${styles.total}`}>
        <span className={styles.model}>{unit}</span>
        <span className={styles.number}>{exactNumber(stack.total)}</span>
      </div>
    </div>
  );
}
