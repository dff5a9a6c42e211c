import { type QueryClient, useMutation, useQueryClient } from "@tanstack/react-query";
import { api, dataOf } from "./client";
import { keys } from "./queries";
import type { Workspace } from "./schema.gen";

/** The answer is newer than the list that is shown, and the event may come later. */
export function putWorkspace(client: QueryClient, workspace: Workspace): void {
  client.setQueryData<Workspace[]>(keys.workspaces, (list) =>
    list?.some((one) => one.id === workspace.id)
      ? list.map((one) => (one.id === workspace.id ? workspace : one))
      : list && [...list, workspace],
  );
}

/** It is no longer mine to see, and the page that comes next must not lead back to it. */
export function dropWorkspace(client: QueryClient, workspaceId: string): void {
  client.setQueryData<Workspace[]>(keys.workspaces, (list) => list?.filter((one) => one.id !== workspaceId));
}

export function useCreateWorkspace(onCreated: (workspace: Workspace) => void) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (name: string) => dataOf(api.POST("/api/workspaces", { body: { name } })),
    onSuccess: (workspace) => {
      putWorkspace(client, workspace);
      onCreated(workspace);
    },
  });
}

export function useRenameWorkspace(workspaceId: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (name: string) =>
      dataOf(
        api.PATCH("/api/workspaces/{workspaceId}", { params: { path: { workspaceId } }, body: { name } }),
      ),
    onSuccess: (workspace) => putWorkspace(client, workspace),
  });
}

export function useDeleteWorkspace(workspaceId: string, onDeleted: () => void) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: () => api.DELETE("/api/workspaces/{workspaceId}", { params: { path: { workspaceId } } }),
    onSuccess: () => {
      dropWorkspace(client, workspaceId);
      onDeleted();
    },
  });
}
