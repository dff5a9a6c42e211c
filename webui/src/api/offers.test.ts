import { describe, expect, it } from "vitest";
import { mainOffer, type Offer, offering, offers, offerWords } from "./offers";
import type { Role } from "./roles.gen";
import type { Sandbox } from "./schema.gen";

const ALL: Offer[] = ["open", "resume", "pause", "rename", "copy", "logs", "delete"];

function possible(status: Sandbox["status"], isLocal: boolean, role: Role | undefined): string {
  return ALL.filter((offer) => offers(offer, { status, isLocal }, role)).join(" ");
}

describe("what can be done with a sandbox", () => {
  it.each([
    ["creating", false, "rename copy logs delete"],
    ["running", false, "open pause rename copy logs delete"],
    ["pausing", false, "rename copy logs delete"],
    ["paused", false, "resume rename copy logs delete"],
    ["resuming", false, "rename copy logs delete"],
    ["failed", false, "resume rename copy logs delete"],
    ["deleting", false, "logs"],
    ["running", true, "open rename copy delete"],
    ["offline", true, "rename copy delete"],
    ["deleting", true, ""],
  ] as const)("%s, local: %s", (status, isLocal, expected) => {
    for (const role of ["developer", "maintainer", "owner"] as const)
      expect(possible(status, isLocal, role)).toBe(expected);
    expect(possible(status, isLocal, "guest")).toBe("");
    expect(possible(status, isLocal, undefined)).toBe("");
  });
});

describe("the one thing that makes sense now", () => {
  it.each([
    ["creating", false, null],
    ["running", false, "open"],
    ["pausing", false, null],
    ["paused", false, "resume"],
    ["resuming", false, null],
    ["failed", false, "resume"],
    ["deleting", false, null],
    ["running", true, "open"],
    ["offline", true, null],
  ] as const)("%s, local: %s", (status, isLocal, expected) => {
    expect(mainOffer({ status, isLocal }, "developer")).toBe(expected);
    expect(mainOffer({ status, isLocal }, "guest")).toBeNull();
  });
});

it("is called by what it means there", () => {
  expect(offerWords("resume", { status: "paused", isLocal: false })).toBe("Resume");
  expect(offerWords("resume", { status: "failed", isLocal: false })).toBe("Try again");
  expect(offerWords("delete", { status: "offline", isLocal: true })).toBe("Disconnect");
});

it("takes from a selection those that allow it", () => {
  const some = [
    { id: "a", status: "running", isLocal: false },
    { id: "b", status: "running", isLocal: true },
    { id: "c", status: "paused", isLocal: false },
  ] as const;
  const ids = (offer: Offer, role: Role) => offering(offer, some, role).map((one) => one.id);
  expect(ids("pause", "developer")).toEqual(["a"]);
  expect(ids("resume", "developer")).toEqual(["c"]);
  expect(ids("delete", "developer")).toEqual(["a", "b", "c"]);
  expect(ids("delete", "guest")).toEqual([]);
});
