import { describe, expect, it } from "vitest";
import { usageCsv } from "./file";

const row = {
  day: "2026-01-31",
  model: '=cmd|"x"',
  sandboxId: "s1",
  requests: 1,
  inputTokens: 20,
  outputTokens: 300,
  cacheReadTokens: 4000,
  cacheWriteTokens: 50000,
};
const COUNTS = "requests,input tokens,output tokens,cache read tokens,cache write tokens";

describe("the file with the usage", () => {
  it("has a row for each day, model and sandbox, names that others chose made harmless", () =>
    expect(usageCsv([row, { ...row, sandboxId: "s2" }], true, new Map([["s1", "one, two"]]))).toBe(
      `day (UTC),model,sandbox id,sandbox name,${COUNTS}\r\n` +
        `2026-01-31,"'=cmd|""x""",s1,"one, two",1,20,300,4000,50000\r\n` +
        `2026-01-31,"'=cmd|""x""",s2,,1,20,300,4000,50000\r\n`,
    ));

  it("says nothing of sandboxes where there is one only", () =>
    expect(usageCsv([{ ...row, model: "m", sandboxId: null }], false, undefined)).toBe(
      `day (UTC),model,${COUNTS}\r\n2026-01-31,m,1,20,300,4000,50000\r\n`,
    ));
});
