import { useMutation, useQueryClient } from "@tanstack/react-query";
import { api } from "./client";
import { keys } from "./queries";
import type { Role } from "./roles.gen";

/** What is shown of a workspace's members, and of my own part in it, comes from the server again. */
function useAskAgain(workspaceId: string) {
  const client = useQueryClient();
  return () =>
    Promise.all([
      client.invalidateQueries({ queryKey: keys.members(workspaceId) }),
      client.invalidateQueries({ queryKey: keys.workspaces }),
    ]);
}

export function useAddMember(workspaceId: string) {
  return useMutation({
    mutationFn: (body: { username: string; role: Role }) =>
      api.POST("/api/workspaces/{workspaceId}/members", { params: { path: { workspaceId } }, body }),
    onSettled: useAskAgain(workspaceId),
  });
}

export function useChangeRole(workspaceId: string, userId: string) {
  return useMutation({
    mutationFn: (role: Role) =>
      api.PUT("/api/workspaces/{workspaceId}/members/{userId}", {
        params: { path: { workspaceId, userId } },
        body: { role },
      }),
    onSettled: useAskAgain(workspaceId),
  });
}

/** Remove somebody, or leave. */
export function useRemoveMember(workspaceId: string, userId: string, onRemoved: () => void) {
  return useMutation({
    mutationFn: () =>
      api.DELETE("/api/workspaces/{workspaceId}/members/{userId}", {
        params: { path: { workspaceId, userId } },
      }),
    onSuccess: onRemoved,
    onSettled: useAskAgain(workspaceId),
  });
}
