import { useUnlink } from "@/api/identity-acts";
import type { Identity } from "@/api/schema.gen";
import { Confirm } from "@/ui/Confirm";

export interface UnlinkDialogProps {
  identity: Identity;
  onClose: () => void;
}

export function UnlinkDialog({ identity, onClose }: UnlinkDialogProps) {
  const { id, providerName, username, email } = identity;
  const unlink = useUnlink(id, onClose);
  const name = username ?? email;
  return (
    <Confirm
      title={`Unlink ${providerName}`}
      verb="Unlink"
      pending={unlink.isPending}
      error={unlink.error}
      onConfirm={() => unlink.mutate()}
      onClose={onClose}
    >
      {name === null ? "The account" : `“${name}”`} at {providerName} no longer signs you in here. Nothing is
      changed there, and where you are signed in, you stay so. You can link it again.
    </Confirm>
  );
}
