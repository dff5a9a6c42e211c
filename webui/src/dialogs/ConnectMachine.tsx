import { Dialog } from "@/ui/Dialog";
import { closeDialog } from "./dialogs";

export default function ConnectMachine({ workspaceId }: { workspaceId: string }) {
  return (
    <Dialog title="ConnectMachine" onClose={closeDialog}>
      {workspaceId}
    </Dialog>
  );
}
