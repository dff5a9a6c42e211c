import { describe, expect, it } from "vitest";
import { choiceOf, timeoutOf } from "./idle-choice";

describe("choiceOf", () => {
  it.each([
    ["30m", "30m", ""],
    ["1800s", "30m", ""],
    ["60m", "30m", "1h"],
    ["0", "30m", "0"],
    ["0", "0", ""],
    ["45m", "30m", "own"],
    [null, "30m", ""],
  ])("%s where the server has %s: %j", (own, servers, timeout) =>
    expect(choiceOf(own, servers)).toEqual({ timeout, ownTimeout: own ?? servers }),
  );
});

describe("timeoutOf", () => {
  it.each([
    ["", "45m", null],
    ["15m", "45m", "15m"],
    ["own", " 45m ", "45m"],
  ])("%j, %s: %s", (timeout, ownTimeout, sent) => expect(timeoutOf({ timeout, ownTimeout })).toBe(sent));
});
