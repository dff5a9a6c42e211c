import { describe, expect, it } from "vitest";
import { among, extended, NOTHING, successor, toggled } from "./selection";

const SHOWN = ["a", "b", "c", "d"];
const ids = (selection: ReadonlySet<string>) => [...selection].sort().join("");

describe("a selection", () => {
  it("takes one in and out", () => {
    const one = toggled(NOTHING, "a");
    expect(ids(one)).toBe("a");
    expect(ids(toggled(toggled(one, "b"), "a"))).toBe("b");
    expect(ids(NOTHING)).toBe("");
  });

  it.each([
    ["", "b", "d", "bcd"],
    ["", "d", "b", "bcd"],
    ["a", "c", "c", "ac"],
    ["a", "gone", "c", "a"],
  ])("%s and from %s to %s: %s", (before, from, to, expected) => {
    expect(ids(extended(new Set(before), SHOWN, from, to))).toBe(expected);
  });

  it("holds nothing that is not shown", () => expect(ids(among(new Set(["a", "x", "d"]), SHOWN))).toBe("ad"));
});

describe("the focus of a row that is gone", () => {
  it.each([
    ["b", ["a", "c", "d"], "c"],
    ["d", ["a", "b", "c"], "c"],
    ["b", ["a", "d"], "d"],
    ["a", [], undefined],
  ])("%s, left are %s: %s", (gone, after, expected) => {
    expect(successor(SHOWN, after, gone)).toBe(expected);
  });
});
