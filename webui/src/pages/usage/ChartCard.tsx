import { useQuery } from "@tanstack/react-query";
import type { UsageDay } from "@/api/schema.gen";
import { exactNumber } from "@/lib/numbers";
import { partQuery } from "@/lib/part-query";
import { Button } from "@/ui/Button";
import { Loaded } from "@/ui/Loaded";
import styles from "./ChartCard.module.css";
import type { Look } from "./looks";
import { MEASURES, type Measure } from "./measures";
import type { Period } from "./period";
import { Swatch } from "./Swatch";
import { type Sum, stacks } from "./sums";

// The charting library is larger than all the rest of the page.
const chartQuery = partQuery("chart", () => import("./Chart"));

export interface ChartCardProps {
  days: readonly UsageDay[];
  period: Period;
  measure: Measure;
  /** All models with their sums, in the order of the stack from below. */
  models: readonly Sum[];
  /** Those of them that are shown. */
  visible: readonly string[];
  looks: ReadonlyMap<string, Look>;
  onToggle: (model: string) => void;
  onShowAll: () => void;
}

export function ChartCard(props: ChartCardProps) {
  const { days, period, measure, models, visible, looks } = props;
  const { title, unit } = MEASURES[measure];
  const label = `${title} per day and model`;
  const chart = useQuery(chartQuery);
  return (
    <section className={styles.card} aria-label={label}>
      <header className={styles.header}>
        <h2>{label}</h2>
        <Legend {...props} />
      </header>
      <p className={styles.unit}>{unit}</p>
      <div className={styles.place}>
        <Loaded query={chart} what="the chart">
          {({ default: Chart }) => (
            <Chart
              label={`${label}, ${period.from} to ${period.to}. The arrow keys go from day to day; the exact numbers are in the tables below.`}
              unit={unit}
              stacks={stacks(days, period, visible, measure)}
              models={visible}
              looks={looks}
            />
          )}
        </Loaded>
      </div>
      {visible.length === 0 && models.length > 0 && (
        <p className={styles.none}>All models are switched off in the legend.</p>
      )}
    </section>
  );
}

function Legend({ models, visible, measure, looks, onToggle, onShowAll }: ChartCardProps) {
  return (
    <ul className={styles.legend} aria-label="Models in the chart">
      {models.map((model) => {
        const look = looks.get(model.key);
        const shown = visible.includes(model.key);
        return (
          <li key={model.key} className={styles.entry}>
            <button
              type="button"
              className={`${styles.toggle} ${shown ? "" : styles.off}`}
              aria-pressed={shown}
              title={shown ? "Take it out of the chart" : "Show it in the chart"}
              onClick={() => onToggle(model.key)}
            >
              {look && <Swatch look={look} hollow={!shown} />}
              <span className={styles.model}>{model.key}</span>
              <span className="quiet">{exactNumber(model[measure])}</span>
            </button>
          </li>
        );
      })}
      {visible.length < models.length && (
        <li>
          <Button kind="quiet" size="small" onClick={onShowAll}>
            Show all
          </Button>
        </li>
      )}
    </ul>
  );
}
