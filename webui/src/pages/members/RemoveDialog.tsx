import { useRemoveMember } from "@/api/member-acts";
import type { Member, Workspace } from "@/api/schema.gen";
import { Confirm } from "@/ui/Confirm";

export interface RemoveDialogProps {
  workspace: Workspace;
  member: Member;
  onClose: () => void;
}

export function RemoveDialog({ workspace, member, onClose }: RemoveDialogProps) {
  const remove = useRemoveMember(workspace.id, member.userId, onClose);
  return (
    <Confirm
      title={`Remove ${member.username}`}
      verb="Remove"
      pending={remove.isPending}
      error={remove.error}
      onConfirm={() => remove.mutate()}
      onClose={onClose}
    >
      {member.username} loses access to “{workspace.name}” at once, and what they have open in it is cut.
      Sandboxes that they made stay, with what is in them.
    </Confirm>
  );
}
