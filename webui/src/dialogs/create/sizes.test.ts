import { describe, expect, it } from "vitest";
import { cores, gibibytes, sizes } from "./sizes";

describe("sizes below the server's limits", () => {
  it.each([
    [{ cpu: "2", memory: "2Gi" }, ["Full: 2 cores, 2 GiB", "Half: 1 core, 1 GiB"]],
    [{ cpu: "4", memory: "8Gi" }, ["Full: 4 cores, 8 GiB", "Half: 2 cores, 4 GiB", "Quarter: 1 core, 2 GiB"]],
    [{ cpu: "500m", memory: "512Mi" }, ["Full: 0.5 cores, 0.5 GiB"]],
  ])("%o", (most, words) => expect(sizes(most).map((size) => size.words)).toEqual(words));

  it("are written as the server reads them", () => {
    expect(sizes({ cpu: "2", memory: "3Gi" }).map((size) => size.limits)).toEqual([
      null,
      { cpu: "1", memory: "1536Mi" },
    ]);
  });

  it.each([
    ["2Gi", 2],
    ["512Mi", 0.5],
    ["1073741824", 1],
    ["nonsense", 0],
  ])("memory %s", (text, expected) => expect(gibibytes(text)).toBe(expected));

  it.each([
    ["2", 2],
    ["500m", 0.5],
  ])("cores %s", (text, expected) => expect(cores(text)).toBe(expected));
});
