import { describe, expect, it } from "vitest";
import { ApiError, failureWords, noAnswer } from "./errors";

describe("what became of what was asked", () => {
  it("is said with the reason", () => {
    const refused = new ApiError(409, "wrong_status", "The sandbox is pausing; that is not possible now.");
    expect(failureWords("It was not resumed.", refused)).toBe(
      "It was not resumed. The sandbox is pausing; that is not possible now.",
    );
  });

  it("is not known where no answer came", () => {
    expect(failureWords("It was not resumed.", noAnswer("POST"))).toMatch(
      /^The server did not answer, so it is not known/,
    );
  });
});
