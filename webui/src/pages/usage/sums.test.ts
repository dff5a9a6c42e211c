import { describe, expect, it } from "vitest";
import type { UsageDay } from "@/api/schema.gen";
import { byDayAndModel, stacks, sumsBy, total } from "./sums";

const row = (day: string, model: string, requests: number, sandboxId: string | null = null): UsageDay => ({
  day,
  model,
  sandboxId,
  requests,
  inputTokens: requests * 10,
  outputTokens: requests * 100,
  cacheReadTokens: 0,
  cacheWriteTokens: requests,
});

const PERIOD = { from: "2026-02-27", to: "2026-03-02" };
const ROWS = [
  row("2026-02-27", "sonnet", 2, "s1"),
  row("2026-02-27", "sonnet", 3, "s2"),
  row("2026-02-27", "haiku", 1, "s1"),
  row("2026-03-01", "haiku", 7, "s2"),
];

describe("what is stacked", () => {
  it("has each day of the period, those without use as zero, and adds sandboxes up", () =>
    expect(stacks(ROWS, PERIOD, ["sonnet", "haiku"], "outputTokens")).toEqual([
      { day: "2026-02-27", counts: [500, 100], total: 600 },
      { day: "2026-02-28", counts: [0, 0], total: 0 },
      { day: "2026-03-01", counts: [0, 700], total: 700 },
      { day: "2026-03-02", counts: [0, 0], total: 0 },
    ]));

  it("leaves out models that are switched off, and days outside of the period", () => {
    const rows = [...ROWS, row("2026-03-03", "sonnet", 99)];
    expect(stacks(rows, PERIOD, ["sonnet"], "requests").map((stack) => stack.total)).toEqual([5, 0, 0, 0]);
  });

  it("does not count what is no day of the period twice at its ends", () =>
    expect(stacks(ROWS, { from: "2026-02-27", to: "2026-02-27" }, ["sonnet", "haiku"], "requests")).toEqual([
      { day: "2026-02-27", counts: [5, 1], total: 6 },
    ]));
});

describe("sums", () => {
  it("are by model, the largest of the measure first", () => {
    const sums = sumsBy(ROWS, (one) => one.model, "requests");
    expect(sums.map(({ key, requests, cacheWriteTokens }) => [key, requests, cacheWriteTokens])).toEqual([
      ["haiku", 8, 8],
      ["sonnet", 5, 5],
    ]);
    expect(sumsBy(ROWS, (one) => one.model, "cacheReadTokens").map(({ key }) => key)).toEqual([
      "haiku",
      "sonnet",
    ]);
  });

  it("are of everything", () =>
    expect(total(ROWS)).toEqual({
      requests: 13,
      inputTokens: 130,
      outputTokens: 1300,
      cacheReadTokens: 0,
      cacheWriteTokens: 13,
    }));
});

describe("the table by day and model", () => {
  it("has the newest day first, the models in the order of the legend, and a row for a day without use", () =>
    expect(
      byDayAndModel(ROWS, PERIOD, ["sonnet", "haiku"]).map((one) => [one.day, one.model, one.requests]),
    ).toEqual([
      ["2026-03-02", null, 0],
      ["2026-03-01", "haiku", 7],
      ["2026-02-28", null, 0],
      ["2026-02-27", "sonnet", 5],
      ["2026-02-27", "haiku", 1],
    ]));

  it("has only what the legend shows", () =>
    expect(byDayAndModel(ROWS, PERIOD, ["sonnet"]).filter((one) => one.model !== null)).toHaveLength(1));
});
