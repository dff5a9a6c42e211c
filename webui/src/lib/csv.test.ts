import { describe, expect, it } from "vitest";
import { csv, fileName } from "./csv";

describe("csv", () => {
  it("ends each row as RFC 4180 has it, and leaves plain cells alone", () => {
    expect(
      csv([
        ["day", "requests"],
        ["2026-01-31", 12],
      ]),
    ).toBe("day,requests\r\n2026-01-31,12\r\n");
  });

  it.each([
    ["a,b", '"a,b"'],
    ['say "hi"', '"say ""hi"""'],
    ["two\nlines", '"two\nlines"'],
    ["", ""],
    ["naïve-ü", "naïve-ü"],
    ["3-sonnet", "3-sonnet"],
  ])("%j is written %j", (cell, text) => expect(csv([[cell]])).toBe(`${text}\r\n`));

  it.each(["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1"])("%j is no formula", (cell) =>
    expect(csv([[cell]])).toBe(`"'${cell}"\r\n`),
  );

  it.each([
    ["a;=1+1", '"a;\'=1+1"'],
    ['a;"=1+1', '"a;""\'=1+1"'],
    ["a\n@b", '"a\n\'@b"'],
    ["a; b", "a; b"],
  ])("%j is none where semicolons part cells", (cell, text) => expect(csv([[cell]])).toBe(`${text}\r\n`));

  it("writes numbers as they are, negative ones too", () =>
    expect(csv([[-5, 1e15]])).toBe("-5,1000000000000000\r\n"));
});

describe("a file's name", () => {
  it("is made of what every system takes", () =>
    expect(fileName("usage", "../ada's workspace/", "2026-01-01", "")).toBe(
      "usage-ada-s-workspace-2026-01-01",
    ));
});
