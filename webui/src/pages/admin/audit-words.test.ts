import { describe, expect, it } from "vitest";
import type { AuditEntry } from "@/api/schema.gen";
import { ACTIONS, KINDS, kindOf, notesOf, sentenceOf } from "./audit-words";

const entry = (more: Partial<AuditEntry>): AuditEntry => ({
  id: 1,
  at: "2026-01-31T12:00:00Z",
  actor: { id: "u1", username: "ada" },
  action: "sandbox.deleted",
  target: { kind: "sandbox", id: "s1", name: "alpha" },
  workspaceId: "w1",
  ip: "192.0.2.1",
  detail: {},
  outcome: "done",
  ...more,
});
const user = { kind: "user", id: "u2", name: "bob" } as const;
const team = { kind: "workspace", id: "w1", name: "team" } as const;
const said = (more: Partial<AuditEntry>, workspace?: string) =>
  sentenceOf(entry(more), workspace)
    .map((piece) => piece.text)
    .join("");

describe("an entry of the audit log", () => {
  it.each<[Partial<AuditEntry>, string]>([
    [{}, "ada deleted sandbox alpha"],
    [{ action: "user.admin_granted", target: user }, "ada made bob an admin"],
    [{ action: "sandbox.renamed", detail: { before: "beta" } }, "ada renamed sandbox beta to alpha"],
    [
      { action: "member.changed", target: user, detail: { before: "guest", role: "owner" } },
      "ada changed the role of bob in team from guest to owner",
    ],
    [{ action: "sandbox.failed", actor: null }, "Sandbox alpha failed"],
    [{ action: "session.refused", actor: null, target: user }, "A sign-in as bob was refused"],
    [{ action: "session.refused", actor: null, target: null }, "A sign-in was refused"],
    [
      { action: "identity.linked", target: user, detail: { provider: "github", as: "bob-hub", how: "x" } },
      "bob-hub at GitHub signs in bob from now on",
    ],
    [{ action: "access.refused", outcome: "refused" }, "ada was refused a request on alpha"],
    [{ action: "access.refused", outcome: "refused", target: null }, "ada was refused a request"],
    [
      { action: "token.created", target: user, detail: { id: "t1", name: "nightly" } },
      "ada made the API token nightly",
    ],
    [
      {
        action: "invitation.accepted",
        target: team,
        detail: { invitation: "i1", role: "guest", made_by: "bob" },
      },
      "ada joined team as guest by a link of bob",
    ],
    [{ action: "member.added", target: user, detail: { role: "guest" } }, "ada added bob to team as guest"],
    [
      { action: "member.added", target: user, detail: { role: "guest", invited_by: "ada" } },
      "bob is a member of team now, as guest",
    ],
    [{ actor: { id: "u1", username: "" } }, "u1 deleted sandbox alpha"],
    [{ actor: null }, "The server deleted sandbox alpha"],
  ])("%j: %s", (more, words) => expect(said(more, "team")).toBe(words));

  it("names the workspace by its id when its name is gone", () =>
    expect(said({ action: "member.left", target: user })).toBe("ada left workspace w1"));

  it("of a kind that this page does not know is shown as it is", () => {
    const action = "sandbox.cloned" as AuditEntry["action"];
    expect(said({ action })).toBe("ada: sandbox.cloned alpha");
    expect(said({ action, actor: null, target: null })).toBe("The server: sandbox.cloned");
    expect(said({ action: "constructor" as AuditEntry["action"] })).toBe("ada: constructor alpha");
  });

  it("takes no name for a place to put something in", () =>
    expect(said({ target: { kind: "sandbox", id: "s1", name: "{actor}" } })).toBe(
      "ada deleted sandbox {actor}",
    ));

  it("tells who acted apart from what was acted on", () =>
    expect(sentenceOf(entry({}), undefined)).toEqual([
      { text: "ada", is: "actor" },
      { text: " deleted sandbox " },
      { text: "alpha", is: "name" },
    ]));

  it("is in the list to filter by, under a kind that has a name", () => {
    for (const action of Object.keys(ACTIONS)) expect(KINDS).toHaveProperty(kindOf(action));
  });
});

describe("what else is known", () => {
  it.each<[Partial<AuditEntry>, string[]]>([
    [{ detail: { reason: "with its workspace", session: "x" } }, ["with its workspace"]],
    [{ action: "sandbox.renamed", detail: { before: "beta" } }, []],
    [{ action: "user.disabled", detail: { sessions: "2" } }, ["2 sessions ended"]],
    [{ action: "user.registered", detail: { admin: "no", session: "x" } }, []],
    [{ action: "member.left", detail: { role: "guest" } }, ["was guest"]],
    [{ detail: { colour: "red" } }, ["colour: red"]],
    [
      { action: "token.created", detail: { id: "t1", name: "n", scopes: "read write" } },
      ["scopes: read write"],
    ],
    [
      {
        action: "invitation.created",
        detail: { invitation: "i1", role: "guest", uses: "3", until: "2026-02-01" },
      },
      ["for 3 people", "until 2026-02-01"],
    ],
    [{ action: "user.registered", target: user, detail: { invitation: "i1" } }, ["by an invitation"]],
    [
      {
        action: "member.added",
        target: user,
        detail: { role: "guest", invitation: "i1", invited_by: "ada" },
      },
      ["by an invitation of ada"],
    ],
    [{ action: "user.registered", target: user, detail: { provider: "oidc" } }, ["with OIDC"]],
    [
      { action: "user.admin_granted", actor: null, target: user, detail: { by: "the provider's groups" } },
      ["by the provider's groups"],
    ],
    [
      { action: "access.refused", detail: { request: "DELETE /api/x", reason: "not allowed", token: "t1" } },
      ["DELETE /api/x", "not allowed", "by an API token"],
    ],
    [
      {
        action: "session.created",
        detail: { browser: "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0" },
      },
      ["Firefox on Linux"],
    ],
  ])("%j: %j", (more, notes) => expect(notesOf(entry(more))).toEqual(notes));
});
