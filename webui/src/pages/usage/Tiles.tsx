import { useId } from "react";
import type { Tokens } from "@/api/schema.gen";
import { exactNumber, shortNumber } from "@/lib/numbers";
import { MEASURE_NAMES, MEASURES, type Measure } from "./measures";
import styles from "./Usage.module.css";

/** Up to here the exact number has room. */
const SHORT_FROM = 1_000_000;

/** The sums of the period; the one that is chosen is what the chart shows. */
export function Tiles({
  sums,
  measure,
  onChoose,
}: {
  sums: Tokens;
  measure: Measure;
  onChoose: (measure: Measure) => void;
}) {
  const name = useId();
  return (
    <fieldset className={styles.tiles}>
      <legend className="off-screen">What the chart shows</legend>
      {MEASURE_NAMES.map((one) => (
        <label key={one} className={styles.tile} title={`${exactNumber(sums[one])} ${MEASURES[one].unit}`}>
          <input
            type="radio"
            className={styles.radio}
            name={name}
            checked={one === measure}
            onChange={() => onChoose(one)}
          />
          <span className={styles.face}>
            <span className={styles.title}>{MEASURES[one].title}</span>
            <span className={styles.count}>
              {sums[one] < SHORT_FROM ? exactNumber(sums[one]) : shortNumber(sums[one])}
            </span>
          </span>
        </label>
      ))}
    </fieldset>
  );
}
