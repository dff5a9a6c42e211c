import { Dialog } from "@/ui/Dialog";
import { closeDialog } from "./dialogs";

export default function CreateSandbox({ workspaceId }: { workspaceId: string }) {
  return (
    <Dialog title="CreateSandbox" onClose={closeDialog}>
      {workspaceId}
    </Dialog>
  );
}
