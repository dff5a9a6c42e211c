import type { Tokens, UsageDay } from "@/api/schema.gen";
import { daysFrom } from "@/lib/days";
import { MEASURE_NAMES, type Measure } from "./measures";
import type { Period } from "./period";

export interface Sum extends Tokens {
  /** The model, sandbox or whatever else it is the sum of. */
  key: string;
}

export function nothing(): Tokens {
  return { requests: 0, inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 };
}

function add(to: Tokens, more: Tokens): void {
  for (const name of MEASURE_NAMES) to[name] += more[name];
}

export function total(rows: readonly Tokens[]): Tokens {
  const sum = nothing();
  for (const row of rows) add(sum, row);
  return sum;
}

/** Sums by what `keyOf` says, those with most of `measure` first; equal ones by their key. */
export function sumsBy(rows: readonly UsageDay[], keyOf: (row: UsageDay) => string, measure: Measure): Sum[] {
  const sums = new Map<string, Sum>();
  for (const row of rows) {
    const key = keyOf(row);
    const sum = sums.get(key) ?? { key, ...nothing() };
    add(sum, row);
    sums.set(key, sum);
  }
  return [...sums.values()].sort((a, b) => b[measure] - a[measure] || (a.key < b.key ? -1 : 1));
}

export interface DayStack {
  day: string;
  /** One number for each model, in the order of the models that were given. */
  counts: number[];
  total: number;
}

/** For each day of the period, also those without any use, what each model has of the measure. */
export function stacks(
  rows: readonly UsageDay[],
  period: Period,
  models: readonly string[],
  measure: Measure,
): DayStack[] {
  const places = new Map(models.map((model, index) => [model, index]));
  const days = new Map<string, DayStack>(
    daysFrom(period.from, period.to).map((day) => [day, { day, counts: models.map(() => 0), total: 0 }]),
  );
  for (const row of rows) {
    const place = places.get(row.model);
    const stack = days.get(row.day);
    if (place === undefined || stack === undefined) continue;
    stack.counts[place] = (stack.counts[place] ?? 0) + row[measure];
    stack.total += row[measure];
  }
  return [...days.values()];
}

export interface DayModel extends Tokens {
  day: string;
  /** `null`: nothing was used on this day. */
  model: string | null;
}

/** The rows of the table: by day, the newest first, and model; a day without use is one row of zeros. */
export function byDayAndModel(
  rows: readonly UsageDay[],
  period: Period,
  models: readonly string[],
): DayModel[] {
  const byDay = new Map<string, UsageDay[]>();
  for (const row of rows) byDay.set(row.day, [...(byDay.get(row.day) ?? []), row]);
  return daysFrom(period.from, period.to)
    .reverse()
    .flatMap((day): DayModel[] => {
      const sums = new Map(
        sumsBy(byDay.get(day) ?? [], (row) => row.model, "requests").map((sum) => [sum.key, sum]),
      );
      const found = models.flatMap((model) => {
        const sum = sums.get(model);
        return sum === undefined ? [] : [{ day, model, ...total([sum]) }];
      });
      return found.length > 0 ? found : [{ day, model: null, ...nothing() }];
    });
}
