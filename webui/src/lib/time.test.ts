import { describe, expect, it } from "vitest";
import { ago, durationMs, durationWords, roughSpan, span } from "./time";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

describe("ago", () => {
  it.each([
    [0, "just now"],
    [-5000, "just now"],
    [MINUTE, "1 min ago"],
    [4 * MINUTE + 59_999, "4 min ago"],
    [HOUR, "1 h ago"],
    [23 * HOUR, "23 h ago"],
    [DAY, "yesterday"],
    [2 * DAY, "2 days ago"],
    [29 * DAY, "29 days ago"],
  ])("%i ms: %s", (past, words) => expect(ago(1_700_000_000_000 - past, 1_700_000_000_000)).toBe(words));

  it("gives the date after a month", () => expect(ago(0, 31 * DAY)).toMatch(/19(69|70)/));
});

describe("span", () => {
  it.each([
    [-1, "0 s"],
    [59_999, "59 s"],
    [MINUTE, "1 min"],
    [HOUR, "1 h"],
    [HOUR + 5 * MINUTE, "1 h 5 min"],
    [DAY, "1 day"],
    [2 * DAY + 3 * HOUR, "2 days 3 h"],
  ])("%i ms: %s", (milliseconds, words) => expect(span(milliseconds)).toBe(words));
});

describe("roughSpan", () => {
  it.each([
    [90 * DAY - 1, "90 days"],
    [6 * DAY + 3 * HOUR, "6 days"],
    [DAY + 11 * HOUR, "1 day 11 h"],
    [3 * HOUR + MINUTE, "3 h 1 min"],
    [0, "0 s"],
  ])("%i ms: %s", (milliseconds, words) => expect(roughSpan(milliseconds)).toBe(words));
});

describe("durationMs", () => {
  it.each([
    ["30m", 30 * MINUTE],
    ["1h30m", 90 * MINUTE],
    ["90s", 90_000],
    ["1.5h", 90 * MINUTE],
    ["0s", null],
    ["0", null],
    [null, null],
    ["soon", null],
  ])("%s", (text, milliseconds) => expect(durationMs(text)).toBe(milliseconds));
});

describe("durationWords", () => {
  it.each([
    ["30m", "30 min"],
    ["1h30m", "1 h 30 min"],
    ["90s", "90 s"],
    ["1.5h", "1.5 h"],
    ["1d", "1 day"],
    ["7d", "7 days"],
    ["0", "never"],
    ["0m", "never"],
    ["soon", "soon"],
  ])("%s: %s", (text, words) => expect(durationWords(text)).toBe(words));
});
