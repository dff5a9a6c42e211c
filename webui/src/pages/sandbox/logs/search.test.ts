import { describe, expect, it } from "vitest";
import type { Block } from "./buffer";
import { Finder, type Match, MOST_MATCHES, placeOf, step } from "./search";

const block = (first: number, text: string): Block => ({ first, lines: text.split("\n").length, text });

describe("Finder", () => {
  it("finds whatever the case, and takes signs as they are", () => {
    expect(new Finder("error").in(block(0, "Error: no\nERROR, error"))).toEqual([0, 10, 17]);
    expect(new Finder("a.b*[").in(block(0, "axb a.b*[ a.b"))).toEqual([4]);
    expect(new Finder("").in(block(0, "text"))).toEqual([]);
  });

  it("is right about places after letters whose small form is longer", () => {
    expect(new Finder("x").in(block(0, "İİx"))).toEqual([2]);
  });

  it("searches a block once", () => {
    const finder = new Finder("a");
    const one = block(0, "banana");
    expect(finder.in(one)).toBe(finder.in(one));
  });

  it("gives the matches of all blocks in order", () => {
    const { matches, more } = new Finder("a").all([block(0, "a a"), block(2, "b"), block(3, "ba")]);
    expect(matches).toEqual([
      { block: 0, at: 0 },
      { block: 0, at: 2 },
      { block: 3, at: 1 },
    ]);
    expect(more).toBe(false);
  });

  it("keeps the last ones when there are too many", () => {
    const blocks = [block(0, "a".repeat(MOST_MATCHES)), block(1, "aaa")];
    const { matches, more } = new Finder("a").all(blocks);
    expect(matches).toHaveLength(MOST_MATCHES);
    expect(matches[0]).toEqual({ block: 0, at: 3 });
    expect(matches.at(-1)).toEqual({ block: 1, at: 2 });
    expect(more).toBe(true);
    expect(new Finder("a").all([block(0, "a".repeat(MOST_MATCHES))]).more).toBe(false);
  });
});

describe("step", () => {
  const [one, two, three]: [Match, Match, Match] = [
    { block: 0, at: 1 },
    { block: 0, at: 5 },
    { block: 9, at: 0 },
  ];
  const all = [one, two, three];
  const gone: Match = { block: 0, at: 3 };
  it.each([
    ["begins with the newest", null, 1, three],
    ["begins with the newest, backwards too", null, -1, three],
    ["goes on", one, 1, two],
    ["goes back", two, -1, one],
    ["begins anew after the last", three, 1, one],
    ["ends at the last before the first", one, -1, three],
    ["goes on from where one was", gone, -1, one],
  ] as const)("%s", (_what, from, by, expected) => expect(step(all, from, by)).toEqual(expected));

  it("has nowhere to go without matches", () => expect(step([], one, 1)).toBeNull());

  it("knows its place", () => {
    expect(placeOf(all, two)).toBe(1);
    expect(placeOf(all, { block: 12, at: 0 })).toBe(-1);
  });
});
