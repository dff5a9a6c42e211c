import { describe, expect, it } from "vitest";
import { periodOf, periodProblems, spanOf, usageSearch } from "./period";

const TODAY = "2026-03-01";

describe("the period in the address bar", () => {
  it("is the last 30 days, today being one of them, if nothing is said", () => {
    expect(periodOf(usageSearch({}), TODAY)).toEqual({ from: "2026-01-31", to: TODAY });
    expect(spanOf(usageSearch({}))).toBe(30);
  });

  it("moves on with the day if it is a span", () => {
    const search = usageSearch({ days: 7 });
    expect(periodOf(search, TODAY)).toEqual({ from: "2026-02-23", to: TODAY });
    expect(periodOf(search, "2026-03-02")).toEqual({ from: "2026-02-24", to: "2026-03-02" });
  });

  it("stays if it is one's own", () => {
    const search = usageSearch({ from: "2026-01-01", to: "2026-01-31", days: 7 });
    expect(search).toEqual({ from: "2026-01-01", to: "2026-01-31" });
    expect(periodOf(search, TODAY)).toEqual({ from: "2026-01-01", to: "2026-01-31" });
    expect(spanOf(search)).toBeNull();
  });

  it("is not what makes no sense", () =>
    expect(
      usageSearch({
        days: 8,
        from: "2026-02-30",
        to: "2026-03-01",
        measure: "money",
        without: "x",
        other: 1,
      }),
    ).toEqual({}));

  it("has the measure and the models beside it", () =>
    expect(usageSearch({ days: "90", measure: "outputTokens", without: ["a", 1] })).toEqual({
      days: 90,
      measure: "outputTokens",
      without: ["a"],
    }));
});

describe("a period that was typed", () => {
  it.each([
    ["2026-01-01", "2026-01-01", null],
    ["2025-03-01", "2026-03-01", null],
    ["2025-02-28", "2026-03-01", "from"],
    ["2026-03-02", "2026-03-01", "from"],
    ["", "2026-03-01", "from"],
    ["2026-03-01", "", "to"],
  ])("%s to %s: %s", (from, to, field) =>
    expect(Object.keys(periodProblems({ from, to }) ?? {})).toEqual(field === null ? [] : [field]),
  );
});
