import { describe, expect, it } from "vitest";
import { matches, rank } from "./search";

describe("a search", () => {
  it.each([
    ["billing api", "", true],
    ["billing api", "  ", true],
    ["billing api", "BILL", true],
    ["billing api", "api bill", true],
    ["billing api", "ling", true],
    ["Größe Ünïcode", "grosse", false],
    ["Größe Ünïcode", "unicode", true],
    ["billing api", "billing web", false],
    ["a.b", "a*b", false],
  ])("%s: %s", (text, typed, found) => expect(matches(text, typed)).toBe(found));

  it("has the best first", () => {
    const texts = ["rapid", "billing-api", "api"];
    expect(texts.sort((a, b) => rank(a, "api") - rank(b, "api"))).toEqual(["api", "billing-api", "rapid"]);
  });
});
