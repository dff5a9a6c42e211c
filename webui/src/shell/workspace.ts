import { useQuery } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";
import { sandboxQuery, workspacesQuery } from "@/api/queries";
import type { Workspace } from "@/api/schema.gen";
import { remember, remembered } from "@/lib/storage";

const NAME = "workspace";

/** The workspace to begin with: the last one that was looked at, else the oldest. */
export function firstWorkspace(workspaces: readonly Workspace[]): Workspace | undefined {
  const last = remembered(NAME);
  return workspaces.find((workspace) => workspace.id === last) ?? workspaces[0];
}

export function rememberWorkspace(id: string): void {
  remember(NAME, id);
}

/** The workspace of this page: that of its address, of its sandbox, or the last one. */
export function useWorkspace(): Workspace | undefined {
  const { workspaceId, sandboxId } = useParams({ strict: false });
  const workspaces = useQuery(workspacesQuery).data ?? [];
  const sandbox = useQuery({ ...sandboxQuery(sandboxId ?? ""), enabled: sandboxId !== undefined });
  const wanted = workspaceId ?? sandbox.data?.workspaceId;
  if (wanted !== undefined) return workspaces.find((workspace) => workspace.id === wanted);
  return sandboxId === undefined || sandbox.isError ? firstWorkspace(workspaces) : undefined;
}
