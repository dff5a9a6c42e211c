import { QueryClient, QueryObserver } from "@tanstack/react-query";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { keys } from "@/api/queries";
import type { Sandbox, Workspace } from "@/api/schema.gen";
import { applyEvent } from "./apply";

const sandbox = (id: string, status: Sandbox["status"]) =>
  ({ id, workspaceId: "w1", name: id, status }) as Sandbox;
const workspace = (id: string, name: string) => ({ id, name }) as Workspace;

describe("an event", () => {
  let client: QueryClient;

  beforeEach(() => {
    client = new QueryClient();
    client.setQueryData(keys.sandboxes("w1"), [sandbox("a", "running"), sandbox("b", "paused")]);
    client.setQueryData(keys.sandbox("a"), sandbox("a", "running"));
    client.setQueryData(keys.workspaces, [workspace("w1", "one"), workspace("w2", "two")]);
    client.setQueryData(keys.me, { id: "me" });
  });

  const statuses = () =>
    client.getQueryData<Sandbox[]>(keys.sandboxes("w1"))?.map((one) => `${one.id} ${one.status}`);

  it("changes a sandbox in its list and on its page, at its place", () => {
    const event = {
      type: "sandbox.updated",
      workspaceId: "w1",
      sandboxId: "a",
      sandbox: sandbox("a", "pausing"),
    };
    applyEvent(client, event);
    expect(statuses()).toEqual(["a pausing", "b paused"]);
    expect(client.getQueryData<Sandbox>(keys.sandbox("a"))?.status).toBe("pausing");
  });

  it("adds a new one at the end, and once however often it is told", () => {
    const event = {
      type: "sandbox.created",
      workspaceId: "w1",
      sandboxId: "c",
      sandbox: sandbox("c", "creating"),
    };
    applyEvent(client, event);
    applyEvent(client, event);
    expect(statuses()).toEqual(["a running", "b paused", "c creating"]);
  });

  it("takes a deleted one out, of its page too", () => {
    applyEvent(client, { type: "sandbox.deleted", workspaceId: "w1", sandboxId: "a" });
    expect(statuses()).toEqual(["b paused"]);
    expect(client.getQueryData(keys.sandbox("a"))).toBeUndefined();
  });

  it("makes no list out of nothing: what was not loaded is loaded when it is looked at", () => {
    const event = {
      type: "sandbox.created",
      workspaceId: "w9",
      sandboxId: "x",
      sandbox: sandbox("x", "creating"),
    };
    applyEvent(client, event);
    expect(client.getQueryData(keys.sandboxes("w9"))).toBeUndefined();
  });

  it("is not undone by an answer that was under way", async () => {
    const answers: ((value: Sandbox[]) => void)[] = [];
    const queryFn = () => new Promise<Sandbox[]>((resolve) => answers.push(resolve));
    const fetched = client.fetchQuery({ queryKey: keys.sandboxes("w1"), queryFn, staleTime: 0 });
    applyEvent(client, {
      type: "sandbox.updated",
      workspaceId: "w1",
      sandboxId: "a",
      sandbox: sandbox("a", "paused"),
    });
    answers[0]?.([sandbox("a", "pausing")]);
    await fetched.catch(() => undefined);
    await Promise.resolve();
    const state = client.getQueryState(keys.sandboxes("w1"));
    expect(state?.isInvalidated, "it is known to be old and will be asked for again").toBe(true);
  });

  it("that comes during a first load leads to a second one", async () => {
    const answers: ((value: Sandbox[]) => void)[] = [];
    const queryFn = () => new Promise<Sandbox[]>((resolve) => answers.push(resolve));
    const observer = new QueryObserver(client, { queryKey: keys.sandboxes("w2"), queryFn });
    const stop = observer.subscribe(() => undefined);
    applyEvent(client, {
      type: "sandbox.updated",
      workspaceId: "w2",
      sandboxId: "z",
      sandbox: sandbox("z", "paused"),
    });
    answers[0]?.([sandbox("z", "pausing")]);
    await vi.waitFor(() => expect(answers).toHaveLength(2));
    stop();
  });

  it("renames and removes workspaces", () => {
    applyEvent(client, { type: "workspace.updated", workspaceId: "w2", workspace: workspace("w2", "zwei") });
    applyEvent(client, { type: "workspace.deleted", workspaceId: "w1" });
    expect(client.getQueryData<Workspace[]>(keys.workspaces)?.map((one) => one.name)).toEqual(["zwei"]);
  });

  it("about my own role asks for my workspaces anew, and takes away the one that I was removed from", () => {
    const invalidate = vi.spyOn(client, "invalidateQueries");
    applyEvent(client, { type: "member.updated", workspaceId: "w1", userId: "me" });
    expect(invalidate).toHaveBeenCalledWith({ queryKey: keys.workspaces });
    applyEvent(client, { type: "member.deleted", workspaceId: "w1", userId: "me" });
    expect(client.getQueryData<Workspace[]>(keys.workspaces)?.map((one) => one.id)).toEqual(["w2"]);
  });

  it("about somebody else's role leaves my workspaces alone", () => {
    applyEvent(client, { type: "member.deleted", workspaceId: "w1", userId: "other" });
    expect(client.getQueryData<Workspace[]>(keys.workspaces)).toHaveLength(2);
    expect(client.getQueryState(keys.workspaces)?.isInvalidated).toBe(false);
  });

  it("that admins hear of loads what they see once for all that happen meanwhile, and again at the end", async () => {
    vi.useFakeTimers();
    const answers: ((value: string[]) => void)[] = [];
    const given: boolean[] = [];
    const observer = new QueryObserver(client, {
      queryKey: keys.adminUsers,
      queryFn: ({ signal }) => {
        signal.addEventListener("abort", () => given.push(true));
        return new Promise<string[]>((resolve) => answers.push(resolve));
      },
    });
    const stop = observer.subscribe(() => undefined);
    answers[0]?.(["first"]);
    await vi.advanceTimersByTimeAsync(0);
    for (let count = 0; count < 50; count += 1) applyEvent(client, { type: "admin.changed" });
    await vi.advanceTimersByTimeAsync(1000);
    expect(answers, "one load, which nothing has given up").toHaveLength(2);
    answers[1]?.(["second"]);
    await vi.advanceTimersByTimeAsync(1000);
    expect(answers, "one more, for what came during the last").toHaveLength(3);
    answers[2]?.(["third"]);
    await vi.advanceTimersByTimeAsync(1000);
    expect(answers).toHaveLength(3);
    expect(given).toEqual([]);
    expect(observer.getCurrentResult().data).toEqual(["third"]);
    stop();
    vi.useRealTimers();
  });
});
