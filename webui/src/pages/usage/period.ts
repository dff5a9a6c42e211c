import { addDays, countDays, isDay } from "@/lib/days";
import { isMeasure, type Measure } from "./measures";

/** Spans that people ask for, in days up to today. */
export const SPANS = [7, 30, 90] as const;
export type Span = (typeof SPANS)[number];
const DEFAULT_SPAN: Span = 30;
/** What the API gives at a time. */
export const MOST_DAYS = 366;

/** What the address bar says of a usage page. Without `from` and `to`: the last `days` days. */
export interface UsageSearch {
  days?: Span;
  from?: string;
  to?: string;
  measure?: Measure;
  /** Models that the legend has switched off. */
  without?: string[];
}

export interface Period {
  from: string;
  to: string;
}

/** Takes from an address what makes sense. */
export function usageSearch(search: Record<string, unknown>): UsageSearch {
  const { days, from, to, measure, without } = search;
  const span = SPANS.find((one) => one === Number(days));
  const own = isDay(from) && isDay(to) && periodProblems({ from, to }) === null;
  const models = Array.isArray(without) ? without.filter((model) => typeof model === "string") : [];
  return {
    ...(span !== undefined && !own && { days: span }),
    ...(own && { from, to }),
    ...(isMeasure(measure) && { measure }),
    ...(models.length > 0 && { without: models }),
  };
}

/** The last so many days, today being one of them. */
export function lastDays(span: number, today: string): Period {
  return { from: addDays(today, 1 - span), to: today };
}

/** The span that was chosen; `null` for a period of one's own. */
export function spanOf(search: UsageSearch): Span | null {
  return search.from !== undefined && search.to !== undefined ? null : (search.days ?? DEFAULT_SPAN);
}

export function periodOf(search: UsageSearch, today: string): Period {
  const { from, to } = search;
  if (from !== undefined && to !== undefined) return { from, to };
  return lastDays(search.days ?? DEFAULT_SPAN, today);
}

/** What is wrong with a period that was typed, by field; `null` if nothing is. */
export function periodProblems({ from, to }: Period): { from?: string; to?: string } | null {
  if (!isDay(from)) return { from: "Choose the first day." };
  if (!isDay(to)) return { to: "Choose the last day." };
  if (from > to) return { from: "The first day is after the last one." };
  if (countDays(from, to) > MOST_DAYS) return { from: `Choose ${MOST_DAYS} days at most.` };
  return null;
}
