import type { Sandbox } from "@/api/schema.gen";
import { Dialog } from "@/ui/Dialog";
import { closeDialog } from "./dialogs";

export default function DeleteSandboxes({ sandboxes }: { sandboxes: readonly Sandbox[] }) {
  return (
    <Dialog title="DeleteSandboxes" onClose={closeDialog}>
      {sandboxes.length}
    </Dialog>
  );
}
