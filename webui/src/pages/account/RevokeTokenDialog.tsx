import type { Token } from "@/api/schema.gen";
import { useRevokeToken } from "@/api/token-acts";
import { Ago } from "@/ui/Ago";
import { Confirm } from "@/ui/Confirm";

export interface RevokeTokenDialogProps {
  token: Token;
  onClose: () => void;
}

export function RevokeTokenDialog({ token, onClose }: RevokeTokenDialogProps) {
  const revoke = useRevokeToken(token.id, onClose);
  return (
    <Confirm
      title={`Revoke “${token.name}”`}
      verb="Revoke"
      pending={revoke.isPending}
      error={revoke.error}
      onConfirm={() => revoke.mutate()}
      onClose={onClose}
    >
      What uses it is cut off at once, and it cannot be made good again.{" "}
      {token.lastUsedAt === null ? (
        "It was never used."
      ) : (
        <>
          It was last used <Ago time={token.lastUsedAt} />.
        </>
      )}
    </Confirm>
  );
}
