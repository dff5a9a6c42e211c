import { useEffect, useState } from "react";
import { useStore } from "@/lib/store";
import { liveState } from "./live";

/** A restart of the server that is over sooner is not worth a word. */
const QUIET_MS = 1500;

/** Since when there is no connection to the server, in milliseconds since 1970; `null` while there is one. */
export function useAway(): number | null {
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
  return away && shown ? state.since : null;
}
