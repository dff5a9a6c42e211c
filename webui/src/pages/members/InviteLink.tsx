import type { MadeInvitation } from "@/api/schema.gen";
import { useServerNow } from "@/lib/clock";
import { roughSpan } from "@/lib/time";
import { Button } from "@/ui/Button";
import { Dialog } from "@/ui/Dialog";
import { Once } from "@/ui/Once";

/** The link, this once. */
export function InviteLink({ invitation, onClose }: { invitation: MadeInvitation; onClose: () => void }) {
  const { url, role, usesLeft, expiresAt } = invitation;
  const left = roughSpan(Date.parse(expiresAt) - useServerNow());
  return (
    <Dialog
      title="The link"
      keep
      onClose={onClose}
      footer={
        <Button kind="primary" onClick={onClose}>
          Done
        </Button>
      }
    >
      <Once
        secret={url}
        what="Copy the link"
        words="Copy it now and send it: it is not shown again. You can withdraw it on this page."
      >
        <p className="quiet">
          {usesLeft === 1 ? "One person" : `${usesLeft} people`} can join with it as {role}, within {left}.
        </p>
      </Once>
    </Dialog>
  );
}
