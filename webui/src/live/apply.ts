import type { QueryClient, QueryKey } from "@tanstack/react-query";
import { keys } from "@/api/queries";
import type { Me, Sandbox, Workspace } from "@/api/schema.gen";

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
  void client.invalidateQueries({ queryKey: ["admin"] });
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
  change<Workspace[]>(client, keys.workspaces, (list) => replaced(list, workspaceId, workspace));
}

function applyMember(client: QueryClient, event: LiveEvent): void {
  const { workspaceId = "", userId } = event;
  void client.invalidateQueries({ queryKey: keys.members(workspaceId) });
  const me = client.getQueryData<Me>(keys.me);
  if (me === undefined || me.id !== userId) return;
  // My own role: what I see and may do there changes.
  void client.invalidateQueries({ queryKey: keys.workspaces });
  if (event.type === "member.deleted") {
    change<Workspace[]>(client, keys.workspaces, (list) => replaced(list, workspaceId, undefined));
  }
}

/** Change what is shown. A fetch that is under way may have been answered before the event, so it begins again. */
function change<T>(client: QueryClient, queryKey: QueryKey, how: (value: T) => T): void {
  client.setQueryData<T>(queryKey, (value) => (value === undefined ? undefined : how(value)));
  if (client.getQueryState(queryKey)?.fetchStatus === "fetching") void client.invalidateQueries({ queryKey });
}

/** The list with the one of this id put in the place of the old one, added at its end, or taken out. */
function replaced<T extends { id: string }>(list: T[], id: string, value: T | undefined): T[] {
  if (value === undefined) return list.filter((one) => one.id !== id);
  return list.some((one) => one.id === id)
    ? list.map((one) => (one.id === id ? value : one))
    : [...list, value];
}
