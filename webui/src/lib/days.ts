import { useEffect, useState } from "react";

// Days as the API has them: "2026-01-31", in UTC.

export const DAY_MS = 86_400_000;
/** Timers of browsers are exact to some milliseconds, before or after. */
const SLACK_MS = 1000;

const withYear = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeZone: "UTC" });
const withoutYear = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", timeZone: "UTC" });
const withWeekday = new Intl.DateTimeFormat(undefined, {
  weekday: "short",
  day: "numeric",
  month: "short",
  year: "numeric",
  timeZone: "UTC",
});

/** The day of a time in milliseconds since 1970. */
export function dayOf(time: number): string {
  return new Date(time).toISOString().slice(0, 10);
}

/** Whether it is a day that there is: not "2026-02-30". */
export function isDay(text: unknown): text is string {
  if (typeof text !== "string" || !/^\d{4}-\d{2}-\d{2}$/.test(text)) return false;
  const time = Date.parse(`${text}T00:00:00Z`);
  return !Number.isNaN(time) && dayOf(time) === text && time > Date.UTC(1970, 0, 1);
}

export function addDays(day: string, count: number): string {
  return dayOf(Date.parse(`${day}T00:00:00Z`) + count * DAY_MS);
}

/** How many days from the first to the last, both counted. */
export function countDays(first: string, last: string): number {
  return (Date.parse(`${last}T00:00:00Z`) - Date.parse(`${first}T00:00:00Z`)) / DAY_MS + 1;
}

/** All days from the first to the last, both included. */
export function daysFrom(first: string, last: string): string[] {
  return Array.from({ length: Math.max(0, countDays(first, last)) }, (_, index) => addDays(first, index));
}

/** "31 Jan 2026", "31 Jan" or "Sat, 31 Jan 2026", as the person's language has it. */
export function dayWords(day: string, form: "full" | "short" | "weekday" = "full"): string {
  const format = { full: withYear, short: withoutYear, weekday: withWeekday }[form];
  return format.format(Date.parse(`${day}T00:00:00Z`));
}

/** Today in UTC, also when it becomes tomorrow under an open page. */
export function useToday(): string {
  const [today, setToday] = useState(() => dayOf(Date.now()));
  // biome-ignore lint/correctness/useExhaustiveDependencies: each new day sets its own timer
  useEffect(() => {
    const now = Date.now();
    const timer = setTimeout(() => setToday(dayOf(Date.now())), DAY_MS - (now % DAY_MS) + SLACK_MS);
    return () => clearTimeout(timer);
  }, [today]);
  return today;
}
