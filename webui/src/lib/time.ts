const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });

/** "just now", "4 min ago", "3 h ago", "2 days ago", then the date. Times are milliseconds since 1970. */
export function ago(time: number, now: number): string {
  const past = now - time;
  if (past < MINUTE) return "just now";
  if (past < HOUR) return `${Math.floor(past / MINUTE)} min ago`;
  if (past < DAY) return `${Math.floor(past / HOUR)} h ago`;
  const days = Math.floor(past / DAY);
  if (days < 30) return days === 1 ? "yesterday" : `${days} days ago`;
  return day.format(time);
}

/** "1 h 5 min", "4 min", "40 s": how long something lasts, of two units at most. */
export function span(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  const [large, largeUnit, small, smallUnit] =
    hours < 24
      ? [hours, "h", minutes % 60, "min"]
      : [Math.floor(hours / 24), Math.floor(hours / 24) === 1 ? "day" : "days", hours % 24, "h"];
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`;
}

/** "7 days", "1 day 4 h": how long something is still good for, in whole days once they are some. */
export function roughSpan(milliseconds: number): string {
  const days = Math.round(milliseconds / DAY);
  return days > 1 ? `${days} days` : span(milliseconds);
}

/** The exact time, in the person's own zone and language. */
export function exactTime(time: number): string {
  return exact.format(time);
}

const UNITS: Record<string, number> = { d: DAY, h: HOUR, m: MINUTE, s: 1000 };

const DURATION = /^(\d+(\.\d+)?[dhms])+$/;
const DURATION_PART = /([\d.]+)([dhms])/g;

/** A duration of the API ("1h30m", "90s", "0") in milliseconds; `null` for never ("0") and for what is none. */
export function durationMs(text: string | null): number | null {
  if (text === null || !DURATION.test(text)) return null;
  let total = 0;
  for (const [, count, unit] of text.matchAll(DURATION_PART))
    total += Number(count) * (UNITS[unit ?? ""] ?? 0);
  return total === 0 ? null : total;
}

const WORDS: Record<string, string> = { d: "days", h: "h", m: "min", s: "s" };

/** A duration of the API as people read it, exactly: "1 h 30 min" of "1h30m", "never" of "0". */
export function durationWords(text: string): string {
  if (!DURATION.test(text)) return text === "0" ? "never" : text;
  if (durationMs(text) === null) return "never";
  const parts = [...text.matchAll(DURATION_PART)];
  return parts
    .map(([, count, unit]) => (count === "1" && unit === "d" ? "1 day" : `${count} ${WORDS[unit ?? ""]}`))
    .join(" ");
}
