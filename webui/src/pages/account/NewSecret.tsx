import type { MadeToken } from "@/api/schema.gen";
import { Button } from "@/ui/Button";
import { CopyBlock } from "@/ui/Copy";
import { Dialog } from "@/ui/Dialog";
import { Once } from "@/ui/Once";
import { exampleCall } from "./scope-words";

/** The token's secret, this once. */
export function NewSecret({ token, onClose }: { token: MadeToken; onClose: () => void }) {
  const example = exampleCall(location.origin, token.scopes);
  return (
    <Dialog
      title={`The token “${token.name}”`}
      keep
      onClose={onClose}
      footer={
        <Button kind="primary" onClick={onClose}>
          Done
        </Button>
      }
    >
      <Once
        secret={token.token}
        what="Copy the token"
        words="Copy it now, to where the program finds it: it is not shown again. Who loses it revokes it and makes another."
      >
        {example !== null && (
          <>
            <p>With the token in the environment as CLI_SERVER_TOKEN, this shows that it works:</p>
            <CopyBlock text={example} what="Copy the command" />
          </>
        )}
      </Once>
    </Dialog>
  );
}
