import { memo, type ReactNode, useEffect, useLayoutEffect, useRef } from "react";
import type { Block } from "./buffer";
import styles from "./LogPanel.module.css";
import type { Finder, Match } from "./search";

/** From the end; less is the end itself, by a finger or a wheel. */
const NEAR_PX = 24;

export interface LogTextProps {
  blocks: readonly Block[];
  finder: Finder;
  /** The match that one is at. It is brought into sight. */
  current: Match | null;
  wrap: boolean;
  /** Whether it stays at the tail. */
  stuck: boolean;
  onStuck: (stuck: boolean) => void;
  /** What is to be said about what came before. */
  before: string | null;
}

/** The text, a node for each block and none for each line: the browser skips what is out of sight. */
export function LogText({ blocks, finder, current, wrap, stuck, onStuck, before }: LogTextProps) {
  const box = useTail(stuck, onStuck);
  // biome-ignore lint/correctness/useExhaustiveDependencies: of another match, not of other text
  useEffect(() => {
    if (current === null) return;
    box.current?.querySelector("mark[data-current]")?.scrollIntoView({ block: "center", inline: "nearest" });
  }, [current]);
  return (
    <section
      ref={box}
      className={`${styles.text} ${wrap ? styles.wrapped : ""}`}
      aria-label="Log"
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard
      tabIndex={0}
    >
      <div>
        {before !== null && <p className={styles.before}>{before}</p>}
        {blocks.map((block, index) => (
          <BlockText
            key={block.first}
            text={block.text}
            places={finder.in(block)}
            length={finder.query.length}
            current={current?.block === block.first ? current.at : null}
            growing={index >= blocks.length - 2}
          />
        ))}
      </div>
    </section>
  );
}

/** Keeps the end in sight while it is stuck to it. Scrolling up loosens it, scrolling to the end sticks it again. */
function useTail(stuck: boolean, onStuck: (stuck: boolean) => void) {
  const box = useRef<HTMLElement>(null);
  useLayoutEffect(() => {
    const element = box.current;
    const content = element?.firstElementChild;
    if (!element || !content) return;
    const toEnd = () => {
      if (stuck) element.scrollTop = element.scrollHeight;
    };
    toEnd();
    const observer = new ResizeObserver(toEnd);
    observer.observe(content);
    observer.observe(element);
    return () => observer.disconnect();
  }, [stuck]);
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    let last = element.scrollTop;
    const take = () => {
      const left = element.scrollHeight - element.scrollTop - element.clientHeight;
      const up = element.scrollTop < last;
      last = element.scrollTop;
      if (left <= NEAR_PX) onStuck(true);
      else if (up) onStuck(false);
    };
    element.addEventListener("scroll", take, { passive: true });
    return () => element.removeEventListener("scroll", take);
  }, [onStuck]);
  return box;
}

interface BlockProps {
  text: string;
  places: readonly number[];
  length: number;
  current: number | null;
  /** Its size is not known in advance. */
  growing: boolean;
}

const BlockText = memo(function BlockText({ text, places, length, current, growing }: BlockProps) {
  return (
    <div className={`${styles.block} ${growing ? styles.growing : ""}`}>
      {places.length === 0 ? text || "\n" : marked(text, places, length, current)}
    </div>
  );
});

function marked(
  text: string,
  places: readonly number[],
  length: number,
  current: number | null,
): ReactNode[] {
  const parts: ReactNode[] = [];
  let from = 0;
  for (const at of places) {
    if (at > from) parts.push(text.slice(from, at));
    parts.push(
      <mark key={at} data-current={at === current || undefined}>
        {text.slice(at, at + length)}
      </mark>,
    );
    from = at + length;
  }
  parts.push(text.slice(from));
  return parts;
}
