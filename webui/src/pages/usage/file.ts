import type { UsageDay } from "@/api/schema.gen";
import { type Cell, csv } from "@/lib/csv";

/** The usage as a table for other programs: what the API gave, with the names of the sandboxes that have one. */
export function usageCsv(
  days: readonly UsageDay[],
  bySandbox: boolean,
  names: ReadonlyMap<string, string> | undefined,
): string {
  const head: Cell[] = [
    "day (UTC)",
    "model",
    ...(bySandbox ? ["sandbox id", "sandbox name"] : []),
    "requests",
    "input tokens",
    "output tokens",
    "cache read tokens",
    "cache write tokens",
  ];
  const rows = days.map((row): Cell[] => [
    row.day,
    row.model,
    ...(bySandbox ? [row.sandboxId ?? "", names?.get(row.sandboxId ?? "") ?? ""] : []),
    row.requests,
    row.inputTokens,
    row.outputTokens,
    row.cacheReadTokens,
    row.cacheWriteTokens,
  ]);
  return csv([head, ...rows]);
}
