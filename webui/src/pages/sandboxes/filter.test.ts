import { describe, expect, it } from "vitest";
import type { Sandbox } from "@/api/schema.gen";
import { counts, NO_FILTER, shown } from "./filter";

function sandbox(name: string, status: Sandbox["status"], day: number, username?: string): Sandbox {
  return {
    id: `id${name}`,
    workspaceId: "w",
    name,
    type: "cloud",
    status,
    statusReason: null,
    isLocal: false,
    url: "",
    createdBy: username === undefined ? null : { id: username, username },
    createdAt: `2026-01-0${day}T00:00:00Z`,
    lastActivityAt: `2026-01-0${day}T00:00:00Z`,
    pausedAt: null,
    lastHeartbeatAt: null,
    idleTimeout: "30m",
    cpu: "2",
    memory: "2Gi",
    agentInfo: null,
  };
}

const SOME = [
  sandbox("alpha", "running", 1, "ada"),
  sandbox("beta", "paused", 3, "bob"),
  sandbox("gamma", "creating", 2),
  sandbox("delta", "deleting", 4, "ada"),
];

const names = (typed: string, group: Parameters<typeof shown>[1]["group"] = null) =>
  shown(SOME, { typed, group })
    .map((one) => one.name)
    .join(" ");

describe("the filter", () => {
  it("shows all, the newest first", () => {
    expect(shown(SOME, NO_FILTER).map((one) => one.name)).toEqual(["delta", "beta", "gamma", "alpha"]);
  });

  it.each([
    ["ALPH", "alpha"],
    ["idbeta", "beta"],
    ["ada", "delta alpha"],
    ["ada alpha", "alpha"],
    ["none", ""],
  ])("by name, id and who made it: %s", (typed, expected) => expect(names(typed)).toBe(expected));

  it("by group", () => {
    expect(names("", "running")).toBe("alpha");
    expect(names("", "changing")).toBe("delta gamma");
    expect(names("gamma", "paused")).toBe("");
  });

  it("counts what there is", () => {
    expect(counts(SOME)).toEqual([
      { group: "running", count: 1 },
      { group: "changing", count: 2 },
      { group: "paused", count: 1 },
    ]);
  });
});
