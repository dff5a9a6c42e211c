import { useRevokeInvitation } from "@/api/invitation-acts";
import type { Invitation } from "@/api/schema.gen";
import { Confirm } from "@/ui/Confirm";

export interface WithdrawDialogProps {
  workspaceId: string;
  invitation: Invitation;
  onClose: () => void;
}

export function WithdrawDialog({ workspaceId, invitation, onClose }: WithdrawDialogProps) {
  const withdraw = useRevokeInvitation(workspaceId, invitation.id, onClose);
  return (
    <Confirm
      title="Withdraw the invitation"
      verb="Withdraw"
      pending={withdraw.isPending}
      error={withdraw.error}
      onConfirm={() => withdraw.mutate()}
      onClose={onClose}
    >
      Nobody can join by the link any more. Who has joined by it stays a member.
    </Confirm>
  );
}
