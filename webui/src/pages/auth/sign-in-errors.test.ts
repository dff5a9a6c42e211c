import { describe, expect, it } from "vitest";
import { signInErrorWords } from "./sign-in-errors";

describe("why a sign-in came to nothing", () => {
  it("is said in words", () =>
    expect(signInErrorWords("email_taken")).toContain("Sign in with its password"));

  it.each(["", "constructor", "<b>a word of nobody's</b>"])("is not taken from the address: %j", (code) =>
    expect(signInErrorWords(code)).toMatch(/^The sign-in did not work\./),
  );
});
