import { describe, expect, it } from "vitest";
import { chosenOf, wantedOf } from "./idle-choice";

describe("chosenOf", () => {
  it.each([
    ["30m", "30m", "usual"],
    ["1800s", "30m", "usual"],
    ["60m", "30m", "1h"],
    ["0", "30m", "0"],
    ["0", "0", "usual"],
    ["45m", "30m", "own"],
    ["30m", undefined, "own"],
    [null, "30m", "usual"],
  ])("%s where the server has %s: %s", (own, usual, choice) => expect(chosenOf(own, usual)).toBe(choice));
});

describe("wantedOf", () => {
  it.each([
    ["usual", "45m", null],
    ["15m", "45m", "15m"],
    ["own", " 45m ", "45m"],
  ])("%s, %s: %s", (choice, own, wanted) => expect(wantedOf(choice, own)).toBe(wanted));
});
