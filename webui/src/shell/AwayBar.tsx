import { WifiOff } from "lucide-react";
import { useEffect, useState } from "react";
import { useNow } from "@/lib/clock";
import { useStore } from "@/lib/store";
import { span } from "@/lib/time";
import { liveState } from "@/live/live";
import styles from "./AwayBar.module.css";

/** A restart of the server that is over sooner is not worth a word. */
const QUIET_MS = 1500;

/** Says that what the page shows may be old, and since when. */
export function AwayBar() {
  const state = useStore(liveState);
  const away = state.kind === "away";
  const [shown, setShown] = useState(false);
  useEffect(() => {
    if (!away) {
      setShown(false);
      return;
    }
    const timer = setTimeout(() => setShown(true), QUIET_MS);
    return () => clearTimeout(timer);
  }, [away]);
  return <div role="status">{away && shown && <Bar since={state.since} />}</div>;
}

function Bar({ since }: { since: number }) {
  return (
    <div className={styles.bar}>
      <WifiOff aria-hidden="true" />
      No connection to the server for {span(useNow() - since)}. What you see may be out of date; the page
      tries again by itself.
    </div>
  );
}
