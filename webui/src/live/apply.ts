import type { Query, QueryClient, QueryKey } from "@tanstack/react-query";
import { keys } from "@/api/queries";
import type { Me, Sandbox, Workspace } from "@/api/schema.gen";
import { tellLoss } from "./lost";

/** An event of /api/events. */
export interface LiveEvent {
  type: string;
  workspaceId?: string;
  sandboxId?: string;
  userId?: string;
  sandbox?: Sandbox;
  workspace?: Workspace;
}

/** Put what an event says into what the pages show. */
export function applyEvent(client: QueryClient, event: LiveEvent): void {
  const [about] = event.type.split(".");
  if (about === "sandbox") applySandbox(client, event);
  else if (about === "workspace") applyWorkspace(client, event);
  else if (about === "member") applyMember(client, event);
  refreshAdmin(client);
}

/** Between two loads of what admins see. Busy servers have some dozen events a second, and these lists are long. */
const ADMIN_PAUSE_MS = 250;
/** Whose lists are being loaded, and whether something has happened since. */
const loading = new WeakMap<QueryClient, { again: boolean }>();

/** Load anew what an admin is shown: once for all that happens meanwhile, and never giving up a load for the next. */
function refreshAdmin(client: QueryClient): void {
  const under = loading.get(client);
  if (under !== undefined) {
    under.again = true;
    return;
  }
  // A first answer that is under way cannot be given up, and may be older than what has happened.
  const state = { again: client.isFetching({ queryKey: ["admin"] }) > 0 };
  loading.set(client, state);
  void client
    .invalidateQueries({ queryKey: ["admin"] })
    .then(() => new Promise((resolve) => setTimeout(resolve, ADMIN_PAUSE_MS)))
    .finally(() => {
      loading.delete(client);
      if (state.again) refreshAdmin(client);
    });
}

function applySandbox(client: QueryClient, event: LiveEvent): void {
  const { workspaceId = "", sandboxId = "", sandbox } = event;
  change<Sandbox[]>(client, keys.sandboxes(workspaceId), (list) => replaced(list, sandboxId, sandbox));
  if (sandbox) change<Sandbox>(client, keys.sandbox(sandboxId), () => sandbox);
  else void client.resetQueries({ queryKey: keys.sandbox(sandboxId) });
  void client.invalidateQueries({ queryKey: ["contents", workspaceId] });
  void client.invalidateQueries({ queryKey: ["ports", sandboxId] });
}

function applyWorkspace(client: QueryClient, event: LiveEvent): void {
  const { workspaceId = "", workspace } = event;
  if (event.type === "workspace.deleted") tellLoss(workspaceId, "deleted");
  change<Workspace[]>(client, keys.workspaces, (list) => replaced(list, workspaceId, workspace));
}

function applyMember(client: QueryClient, event: LiveEvent): void {
  const { workspaceId = "", userId } = event;
  void client.invalidateQueries({ queryKey: keys.members(workspaceId) });
  // Who joined may have used one, and what somebody gave who is removed is worth nothing.
  void client.invalidateQueries({ queryKey: keys.invitations(workspaceId) });
  const me = client.getQueryData<Me>(keys.me);
  if (me === undefined || me.id !== userId) return;
  // My own role: what I see and may do there changes.
  void client.invalidateQueries({ queryKey: keys.workspaces });
  if (event.type === "member.deleted") {
    tellLoss(workspaceId, "removed");
    change<Workspace[]>(client, keys.workspaces, (list) => replaced(list, workspaceId, undefined));
  }
}

/** Change what is shown. An answer that is under way may be older than the event, so it is asked again. */
function change<T>(client: QueryClient, queryKey: QueryKey, how: (value: T) => T): void {
  client.setQueryData<T>(queryKey, (value) => (value === undefined ? undefined : how(value)));
  const query = client.getQueryCache().find({ queryKey, exact: true });
  if (query?.state.fetchStatus === "fetching") askAgain(client, query);
}

/** Ask everything that is shown again, and all else when it is looked at: something may have been missed. */
export function askAllAgain(client: QueryClient): void {
  for (const query of client.getQueryCache().getAll()) askAgain(client, query);
}

/** Ask again, now or, where a first answer is under way that cannot be given up, after it. */
function askAgain(client: QueryClient, query: Query): void {
  const underWay = query.promise;
  const invalidate = () => client.invalidateQueries({ queryKey: query.queryKey, exact: true });
  const fetching = query.state.fetchStatus === "fetching";
  void invalidate();
  if (fetching && query.promise === underWay) underWay?.catch(() => undefined).then(invalidate);
}

/** The list with the one of this id put in the place of the old one, added at its end, or taken out. */
function replaced<T extends { id: string }>(list: T[], id: string, value: T | undefined): T[] {
  if (value === undefined) return list.filter((one) => one.id !== id);
  return list.some((one) => one.id === id)
    ? list.map((one) => (one.id === id ? value : one))
    : [...list, value];
}
