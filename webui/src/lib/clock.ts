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

/** By less than this no clock is wrong: a `Date` header has whole seconds, and an answer is on its way for some. */
const SKEW_MS = 5000;
const ahead = new Store(0);

/** What the server says the time is: a laptop's clock may be minutes off, and times of the API are the server's. */
export function hearServer(date: string | null): void {
  const server = Date.parse(date ?? "");
  if (Number.isNaN(server)) return;
  const skew = Date.now() - server;
  // An answer that was long on its way makes the clock look ahead; the next one puts that right.
  ahead.set(Math.abs(skew) < SKEW_MS ? 0 : skew);
}

/** The time by the server's clock, for times that it gave. */
export function useServerNow(): number {
  return useNow() - useStore(ahead);
}
