import type { Sandbox } from "@/api/schema.gen";
import { useNow } from "@/lib/clock";
import { span } from "@/lib/time";
import { Button } from "@/ui/Button";
import type { FollowState } from "./follower";
import styles from "./LogPanel.module.css";

export interface FollowLineProps {
  state: FollowState;
  status: Sandbox["status"];
  empty: boolean;
  onRetry: () => void;
}

/** Whether what is above goes on. */
export function FollowLine({ state, status, empty, onRetry }: FollowLineProps) {
  const again = state.kind === "broken" || state.kind === "refused";
  return (
    <div className={styles.line}>
      <p role="status">{lineOf(state, status, empty)}</p>
      {state.kind === "broken" && <Countdown until={state.retryAt} />}
      {again && (
        <Button size="small" onClick={onRetry}>
          Try now
        </Button>
      )}
    </div>
  );
}

function lineOf(state: FollowState, status: Sandbox["status"], empty: boolean): string {
  switch (state.kind) {
    case "connecting":
      return "Connecting…";
    case "following":
      return empty
        ? "Nothing has been said yet. What comes is shown at once."
        : "Following: what comes is shown at once.";
    case "ended":
      return `This is the end: the sandbox is ${status}.`;
    case "broken":
      return status === "creating" || status === "resuming"
        ? "The sandbox starts. It is asked again by itself."
        : "The connection to the log broke. What is above stays, and it is tried again by itself.";
    case "refused":
      return state.error.message;
    case "resting":
      return "Not followed while nobody looks.";
  }
}

function Countdown({ until }: { until: number }) {
  const left = until - useNow();
  return left < 1000 ? null : <span>Next try in {span(left)}.</span>;
}
