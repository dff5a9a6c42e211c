import styles from "./Connect.module.css";

const RADIUS = 20;
const AROUND = 2 * Math.PI * RADIUS;

/** A ring that runs down, around a text. `part`: what is left, 1 to 0. */
export function Ring({ part, label }: { part: number; label: string }) {
  const left = Math.min(1, Math.max(0, part));
  return (
    <span className={styles.ring} role="timer" aria-label={`The code works for ${label}`}>
      <svg viewBox="0 0 48 48" aria-hidden="true">
        <circle className={styles.track} cx="24" cy="24" r={RADIUS} />
        <circle
          className={styles.left}
          cx="24"
          cy="24"
          r={RADIUS}
          strokeDasharray={`${left * AROUND} ${AROUND}`}
          transform="rotate(-90 24 24)"
        />
      </svg>
      <span className={styles.time} aria-hidden="true">
        {label}
      </span>
    </span>
  );
}
