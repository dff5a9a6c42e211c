import type { Tokens } from "@/api/schema.gen";

export type Measure = keyof Tokens;

interface Words {
  /** On its button and over its column. */
  title: string;
  /** What is counted, at the axis. */
  unit: string;
}

/** What can be looked at, in the order of the page. */
export const MEASURES: Record<Measure, Words> = {
  requests: { title: "Requests", unit: "requests" },
  inputTokens: { title: "Input", unit: "input tokens" },
  outputTokens: { title: "Output", unit: "output tokens" },
  cacheReadTokens: { title: "Cache read", unit: "tokens read from the cache" },
  cacheWriteTokens: { title: "Cache write", unit: "tokens written to the cache" },
};

export const MEASURE_NAMES = Object.keys(MEASURES) as Measure[];

export function isMeasure(name: unknown): name is Measure {
  return typeof name === "string" && Object.hasOwn(MEASURES, name);
}
