// @vitest-environment jsdom
import { act, renderHook } from "@testing-library/react";
import { afterEach, describe, expect, it, vi } from "vitest";
import { addDays, countDays, dayOf, daysFrom, dayWords, isDay, useToday } from "./days";

afterEach(() => vi.useRealTimers());

describe("days in UTC", () => {
  it("are those of UTC, wherever one is", () => {
    expect(dayOf(Date.UTC(2026, 0, 31, 23, 59, 59))).toBe("2026-01-31");
    expect(dayOf(Date.UTC(2026, 1, 1))).toBe("2026-02-01");
    expect(dayWords("2026-01-31")).toMatch(/31/);
    expect(dayWords("2026-01-31", "short")).not.toMatch(/2026/);
  });

  it.each([
    ["2026-02-28", 1, "2026-03-01"],
    ["2028-02-28", 1, "2028-02-29"],
    ["2026-01-01", -1, "2025-12-31"],
    // Where the clocks go forward, a local day has 23 hours.
    ["2026-03-29", 1, "2026-03-30"],
  ])("%s and %i", (day, count, other) => expect(addDays(day, count)).toBe(other));

  it("are counted with both ends", () => {
    expect(countDays("2026-01-31", "2026-01-31")).toBe(1);
    expect(daysFrom("2026-02-27", "2026-03-02")).toEqual([
      "2026-02-27",
      "2026-02-28",
      "2026-03-01",
      "2026-03-02",
    ]);
    expect(daysFrom("2026-03-02", "2026-02-27")).toEqual([]);
  });

  it.each(["2026-02-30", "2026-1-1", "", 20260101, null, "2026-01-01T00:00", "0026-01-01"])(
    "%j is none",
    (text) => expect(isDay(text)).toBe(false),
  );

  it("become tomorrow under an open page", () => {
    vi.useFakeTimers({ now: Date.UTC(2026, 0, 31, 23, 59) });
    const { result } = renderHook(useToday);
    expect(result.current).toBe("2026-01-31");
    act(() => vi.advanceTimersByTime(62_000));
    expect(result.current).toBe("2026-02-01");
    act(() => vi.advanceTimersByTime(86_400_000));
    expect(result.current).toBe("2026-02-02");
  });
});
