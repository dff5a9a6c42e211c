import { useMutation, useQueryClient } from "@tanstack/react-query";
import { api, dataOf } from "./client";
import { ApiError } from "./errors";
import { keys } from "./queries";
import type { NewInvitation, Workspace } from "./schema.gen";
import { putWorkspace } from "./workspace-acts";

export function useCreateInvitation(workspaceId: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (body: NewInvitation) =>
      dataOf(
        api.POST("/api/workspaces/{workspaceId}/invitations", { params: { path: { workspaceId } }, body }),
      ),
    onSettled: () => client.invalidateQueries({ queryKey: keys.invitations(workspaceId) }),
    // Its link is shown once: nothing keeps it after the dialog that does.
    gcTime: 0,
  });
}

export function useRevokeInvitation(workspaceId: string, invitationId: string, onDone: () => void) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: async () => {
      try {
        await api.DELETE("/api/workspaces/{workspaceId}/invitations/{invitationId}", {
          params: { path: { workspaceId, invitationId } },
        });
      } catch (error) {
        // Used up, expired or taken back meanwhile: that is what was wanted.
        if (!(error instanceof ApiError) || error.code !== "invitation_not_found") throw error;
      }
    },
    onSuccess: onDone,
    onSettled: () => client.invalidateQueries({ queryKey: keys.invitations(workspaceId) }),
  });
}

/** Join the workspace of an invitation. */
export function useAcceptInvitation(token: string, onJoined: (workspace: Workspace) => void) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: () => dataOf(api.POST("/api/invitations/accept", { body: { token } })),
    onSuccess: (workspace) => {
      putWorkspace(client, workspace);
      onJoined(workspace);
    },
  });
}
