import { useEffect } from "react";
import { Store, useStore } from "./store";

const TICK_MS = 1000;
const now = new Store(Date.now());
let watchers = 0;
let timer: ReturnType<typeof setInterval> | undefined;

/** The time in milliseconds, to the second: one clock for all that shows it. */
export function useNow(): number {
  useEffect(() => {
    watchers += 1;
    if (watchers === 1) {
      now.set(Date.now());
      timer = setInterval(() => now.set(Date.now()), TICK_MS);
    }
    return () => {
      watchers -= 1;
      if (watchers === 0) clearInterval(timer);
    };
  }, []);
  return useStore(now);
}
