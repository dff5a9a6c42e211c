import type { Workspace } from "@/api/schema.gen";
import { Dialog } from "@/ui/Dialog";
import { closeDialog } from "./dialogs";

export default function DeleteWorkspace({ workspace }: { workspace: Workspace }) {
  return (
    <Dialog title="DeleteWorkspace" onClose={closeDialog}>
      {workspace.name}
    </Dialog>
  );
}
