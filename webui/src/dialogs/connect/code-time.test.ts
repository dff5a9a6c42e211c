import { describe, expect, it } from "vitest";
import { lifetimeMs, minutesAndSeconds } from "./code-time";

const EXPIRES = "2026-03-01T10:10:00Z";

describe("lifetimeMs", () => {
  const wrong = Date.parse("2026-03-01T09:00:00Z");
  it.each([
    ["by the server's clock", "Sun, 01 Mar 2026 10:00:00 GMT", wrong, 600_000],
    ["by ours, where it tells none", null, Date.parse("2026-03-01T10:08:00Z"), 120_000],
    ["by ours, where it cannot be read", "soon", Date.parse("2026-03-01T10:08:00Z"), 120_000],
    ["not below nothing", "Sun, 01 Mar 2026 10:20:00 GMT", wrong, 0],
  ])("%s", (_what, date, now, lifetime) => expect(lifetimeMs(EXPIRES, date, now)).toBe(lifetime));
});

describe("minutesAndSeconds", () => {
  it.each([
    [600_000, "10:00"],
    [545_000, "9:05"],
    [59_999, "0:59"],
    [1, "0:00"],
    [-5, "0:00"],
  ])("%i: %s", (milliseconds, text) => expect(minutesAndSeconds(milliseconds)).toBe(text));
});
