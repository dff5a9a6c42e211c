import { describe, expect, it } from "vitest";
import { exampleCall, SCOPE_ORDER, SCOPES, scopeNames } from "./scope-words";

describe("scopes", () => {
  it("are all in the list", () => expect([...SCOPE_ORDER].sort()).toEqual(Object.keys(SCOPES).sort()));

  it("are named in one order", () => expect(scopeNames(["open", "read"])).toBe("Read, Open sandboxes"));

  it("have an example that the token may call, and that does not have the token in it", () => {
    const call = (...scopes: Parameters<typeof exampleCall>[1]) => exampleCall("https://c.example", scopes);
    expect(call("write", "read")).toBe(
      'curl -H "Authorization: Bearer $CLI_SERVER_TOKEN" https://c.example/api/workspaces',
    );
    expect(call("admin")).toContain("/api/admin/users");
    expect(call("write")).toBeNull();
  });
});
