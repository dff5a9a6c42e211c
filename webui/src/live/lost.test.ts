import { QueryClient } from "@tanstack/react-query";
import { describe, expect, it } from "vitest";
import { keys } from "@/api/queries";
import { applyEvent } from "./apply";
import { losses } from "./lost";

const client = new QueryClient();
client.setQueryData(keys.me, { id: "u1", username: "ada", email: null, isAdmin: false });

describe("why a workspace is gone", () => {
  it("was deleted, also when its members are taken out of it afterwards", () => {
    applyEvent(client, { type: "workspace.deleted", workspaceId: "w1" });
    applyEvent(client, { type: "member.deleted", workspaceId: "w1", userId: "u1" });
    expect(losses.value.get("w1")).toBe("deleted");
  });

  it("is that I was removed, and not that somebody else was", () => {
    applyEvent(client, { type: "member.deleted", workspaceId: "w2", userId: "u2" });
    expect(losses.value.get("w2")).toBeUndefined();
    applyEvent(client, { type: "member.deleted", workspaceId: "w2", userId: "u1" });
    expect(losses.value.get("w2")).toBe("removed");
  });
});
