// @vitest-environment jsdom
import { act, renderHook } from "@testing-library/react";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { hearServer, useServerNow } from "./clock";

const NOON = Date.UTC(2026, 0, 31, 12);

describe("the server's time", () => {
  beforeEach(() => {
    vi.useFakeTimers();
    vi.setSystemTime(NOON);
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it.each([
    ["a clock that is ten minutes ahead", "Sat, 31 Jan 2026 11:50:00 GMT", NOON - 600_000],
    ["one that is an hour behind", "Sat, 31 Jan 2026 13:00:00 GMT", NOON + 3_600_000],
    ["one that is right but for a slow answer", "Sat, 31 Jan 2026 11:59:57 GMT", NOON],
  ])("is known to %s", (_name, date, now) => {
    const { result } = renderHook(useServerNow);
    act(() => hearServer(date));
    expect(result.current).toBe(now);
  });

  it("stays as it was where an answer does not tell it", () => {
    const { result } = renderHook(useServerNow);
    act(() => hearServer("Sat, 31 Jan 2026 11:00:00 GMT"));
    act(() => hearServer(null));
    act(() => hearServer("nonsense"));
    expect(result.current).toBe(NOON - 3_600_000);
  });
});
