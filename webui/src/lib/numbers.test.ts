import { describe, expect, it } from "vitest";
import { exactNumber, shortNumber } from "./numbers";

describe("numbers", () => {
  it.each([
    [0, "0", "0"],
    [999, "999", "999"],
    [1234, "1,234", "1.23K"],
    [999_999, "999,999", "1M"],
    [45_678_901, "45,678,901", "45.7M"],
    [9_007_199_254_740_991, "9,007,199,254,740,991", "9010T"],
  ])("%i", (count, exact, short) => {
    expect(exactNumber(count)).toBe(exact);
    expect(shortNumber(count)).toBe(short);
  });
});
