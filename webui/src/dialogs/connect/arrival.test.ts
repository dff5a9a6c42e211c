import { describe, expect, it } from "vitest";
import type { Sandbox } from "@/api/schema.gen";
import { arrivals, arrivalWords } from "./arrival";

const ME = "ada0000000000000";
const one = (id: string, more: Partial<Sandbox>) =>
  ({ id, isLocal: true, createdBy: { id: ME, username: "ada" }, ...more }) as Sandbox;

describe("arrivals", () => {
  it("are mine, local, and were not there", () => {
    const list = [
      one("old", {}),
      one("cloud", { isLocal: false }),
      one("theirs", { createdBy: { id: "bea", username: "bea" } }),
      one("nobodys", { createdBy: null }),
      one("new", {}),
    ];
    expect(arrivals(list, new Set(["old"]), ME).map(({ id }) => id)).toEqual(["new"]);
    expect(arrivals(list, new Set(["old"]), undefined)).toEqual([]);
  });
});

describe("arrivalWords", () => {
  it.each([
    ["running", "2026-03-01T10:00:00Z", "is connected"],
    ["offline", null, "has registered and is connecting"],
    ["offline", "2026-03-01T10:00:00Z", "was connected and is offline now"],
    ["deleting", null, "is being disconnected"],
  ] as const)("%s, %s: %s", (status, lastHeartbeatAt, words) =>
    expect(arrivalWords({ status, lastHeartbeatAt })).toBe(words),
  );
});
