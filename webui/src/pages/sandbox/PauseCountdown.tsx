import type { Sandbox } from "@/api/schema.gen";
import { useServerNow } from "@/lib/clock";
import { useAway } from "@/live/away";
import styles from "./Overview.module.css";
import { leftWords, timeLeft } from "./time-left";

/** When it is paused for want of use. */
export function PauseCountdown({ sandbox }: { sandbox: Sandbox }) {
  const left = timeLeft(sandbox, useServerNow());
  const away = useAway() !== null;
  if (away) return <>Not known while there is no connection</>;
  if (left === null) return <>Never by itself</>;
  return (
    <div className={styles.pauses}>
      <p>
        {left > 0 ? (
          <>
            in <span role="timer">{leftWords(left)}</span> without use
          </>
        ) : (
          "As soon as its agent is not working"
        )}
      </p>
      <p className={styles.note}>
        It is kept awake while its agent works or somebody uses it. Paused, it keeps its files.
      </p>
    </div>
  );
}
