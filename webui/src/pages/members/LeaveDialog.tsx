import { useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useRemoveMember } from "@/api/member-acts";
import type { Workspace } from "@/api/schema.gen";
import { dropWorkspace } from "@/api/workspace-acts";
import { Confirm } from "@/ui/Confirm";
import { notify } from "@/ui/Toasts";

export interface LeaveDialogProps {
  workspace: Workspace;
  /** My own id. */
  userId: string;
  onClose: () => void;
}

export function LeaveDialog({ workspace, userId, onClose }: LeaveDialogProps) {
  const navigate = useNavigate();
  const client = useQueryClient();
  const leave = useRemoveMember(workspace.id, userId, () => {
    dropWorkspace(client, workspace.id);
    notify(`You left “${workspace.name}”.`);
    void navigate({ to: "/", replace: true });
  });
  return (
    <Confirm
      title={`Leave “${workspace.name}”`}
      verb="Leave"
      pending={leave.isPending}
      error={leave.error}
      onConfirm={() => leave.mutate()}
      onClose={onClose}
    >
      You lose access at once, to sandboxes of yours in it, too; they stay with its members. To come back, one
      of its owners has to add you.
    </Confirm>
  );
}
