import type { Sandbox } from "@/api/schema.gen";
import { Dialog } from "@/ui/Dialog";
import { closeDialog } from "./dialogs";

export default function RenameSandbox({ sandbox }: { sandbox: Sandbox }) {
  return (
    <Dialog title="RenameSandbox" onClose={closeDialog}>
      {sandbox.name}
    </Dialog>
  );
}
