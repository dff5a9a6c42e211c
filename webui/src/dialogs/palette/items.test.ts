import { describe, expect, it } from "vitest";
import type { Sandbox, Workspace } from "@/api/schema.gen";
import { found, type Known, offerItems, rootItems, SHOWN_UNASKED, sandboxItems } from "./items";

const workspace = (id: string, role: Workspace["role"]) => ({ id, name: `team ${id}`, role }) as Workspace;
const sandbox = (name: string, workspaceId: string, status: Sandbox["status"], minute = 0) =>
  ({
    id: `id-${name}`,
    name,
    workspaceId,
    status,
    isLocal: status === "offline",
    lastActivityAt: `2026-01-01T00:0${minute}:00Z`,
  }) as Sandbox;

const ALPHA = sandbox("alpha", "w1", "running", 1);
const BETA = sandbox("beta", "w1", "paused", 2);
const FOREIGN = sandbox("zeta", "w2", "running", 9);

const KNOWN: Known = {
  isAdmin: false,
  workspace: workspace("w1", "developer"),
  workspaces: [workspace("w1", "developer"), workspace("w2", "guest")],
  sandboxes: [FOREIGN, ALPHA, BETA],
  theme: "dark",
};

const texts = (known: Known, typed = "") =>
  found([...rootItems(known), ...offerItems(known, typed)], typed).flatMap(({ items }) =>
    items.map((item) => item.text),
  );

describe("the palette, without a word typed", () => {
  it("has the sandboxes of the page's workspace first, the last used first", () => {
    expect(texts(KNOWN).slice(0, 3)).toEqual(["beta", "alpha", "zeta"]);
  });

  it("leaves the commands in sight", () => {
    const sandboxes = Array.from({ length: 30 }, (_, index) => sandbox(`s${index}`, "w1", "paused"));
    const [first, second] = found(rootItems({ ...KNOWN, sandboxes }), "");
    expect([first?.items.length, second?.group]).toEqual([SHOWN_UNASKED, "Commands"]);
  });

  it("has every page, the other workspaces, the themes and the way out", () => {
    expect(texts(KNOWN).slice(3)).toEqual([
      "New sandbox",
      "Connect a machine",
      "New workspace",
      "Sign out",
      "Sandboxes",
      "Usage",
      "Members",
      "Settings",
      "Where you are signed in",
      "How you sign in",
      "API tokens",
      "Switch to team w2",
      "Theme: as the system",
      "Theme: light",
      "Theme: dark",
    ]);
    expect(
      rootItems(KNOWN)
        .filter((item) => item.checked)
        .map((item) => item.text),
    ).toEqual(["Theme: dark"]);
  });

  it("has the admin's pages for admins only", () => {
    expect(texts(KNOWN)).not.toContain("Audit log");
    const paths = rootItems({ ...KNOWN, isAdmin: true })
      .filter((item) => item.detail === "Admin")
      .map((item) => item.id);
    expect(paths).toEqual(["/admin/users", "/admin/workspaces", "/admin/sandboxes", "/admin/audit"]);
  });

  it("offers a guest nothing to make, and works without a workspace", () => {
    const guest = texts({ ...KNOWN, workspace: workspace("w1", "guest") });
    expect(guest).not.toContain("New sandbox");
    expect(guest).not.toContain("Connect a machine");
    const none = texts({ ...KNOWN, workspace: undefined, workspaces: [], sandboxes: [] });
    expect(none.slice(0, 3)).toEqual(["New workspace", "Sign out", "Where you are signed in"]);
  });

  it("gives each item an id of its own", () => {
    const ids = rootItems({ ...KNOWN, isAdmin: true }).map((item) => item.id);
    expect(new Set(ids).size).toBe(ids.length);
  });
});

describe("with one sandbox", () => {
  const of = (one: Sandbox) => sandboxItems(KNOWN, one).map((item) => item.text);

  it("is what its status and one's role allow", () => {
    expect(of(ALPHA)).toEqual([
      "Open",
      "Go to its page",
      "Pause",
      "Logs",
      "Copy address",
      "Rename",
      "Delete",
    ]);
    expect(of(BETA)).toEqual(["Resume", "Go to its page", "Logs", "Copy address", "Rename", "Delete"]);
    expect(of(sandbox("laptop", "w1", "offline"))).toEqual([
      "Copy address",
      "Go to its page",
      "Rename",
      "Disconnect",
    ]);
    expect(of(FOREIGN)).toEqual(["Go to its page"]);
  });
});

describe("a search", () => {
  it.each([
    ["alph", ["alpha"]],
    ["team w2", ["Switch to team w2", "zeta"]],
    ["pause", ["Pause: alpha"]],
    ["pa alp", ["Pause: alpha"]],
    ["resume", ["Resume: beta"]],
    ["open zeta", []],
    ["dark", ["Theme: dark"]],
    ["new", ["New sandbox", "New workspace"]],
    ["sign", ["Sign out", "Where you are signed in", "How you sign in"]],
    ["nothing like it", []],
  ])("for %s", (typed, expected) => expect(texts(KNOWN, typed)).toEqual(expected));

  it("has the group with the best match first", () => {
    const known = { ...KNOWN, sandboxes: [sandbox("reset-api", "w1", "paused")] };
    expect(texts(known, "set")).toEqual(["Settings", "reset-api"]);
  });
});
