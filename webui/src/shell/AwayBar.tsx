import { WifiOff } from "lucide-react";
import { useEffect } from "react";
import { useNow } from "@/lib/clock";
import { span } from "@/lib/time";
import { useAway } from "@/live/away";
import styles from "./AwayBar.module.css";

/** Says that what the page shows may be old, and since when. Statuses lose their colour meanwhile. */
export function AwayBar() {
  const since = useAway();
  useEffect(() => {
    document.documentElement.toggleAttribute("data-away", since !== null);
  }, [since]);
  return <div role="status">{since !== null && <Bar since={since} />}</div>;
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
