import { describe, expect, it } from "vitest";
import { leftWords, timeLeft } from "./time-left";

const AT = "2026-03-01T10:00:00Z";
const now = Date.parse(AT) + 60_000;
const sandbox = { status: "running", isLocal: false, idleTimeout: "30m", lastActivityAt: AT } as const;

describe("timeLeft", () => {
  it.each([
    ["from the last activity", sandbox, 29 * 60_000],
    ["is over when it is over", { ...sandbox, idleTimeout: "30s" }, -30_000],
    ["not where it is never paused", { ...sandbox, idleTimeout: "0" }, null],
    ["not while it does not run", { ...sandbox, status: "paused" as const }, null],
    ["not for somebody's own machine", { ...sandbox, isLocal: true }, null],
    ["not without a timeout", { ...sandbox, idleTimeout: null }, null],
  ])("%s", (_what, one, left) => expect(timeLeft(one, now)).toBe(left));
});

describe("leftWords", () => {
  it.each([
    [500, "0 s"],
    [59_999, "59 s"],
    [60_000, "1 min 00 s"],
    [12 * 60_000 + 5999, "12 min 05 s"],
    [3_599_999, "59 min 59 s"],
    [3_600_000, "1 h"],
    [3_600_000 + 5 * 60_000, "1 h 5 min"],
  ])("%i: %s", (milliseconds, words) => expect(leftWords(milliseconds)).toBe(words));
});
