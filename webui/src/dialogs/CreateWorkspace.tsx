import { Dialog } from "@/ui/Dialog";
import { closeDialog } from "./dialogs";

export default function CreateWorkspace() {
  return <Dialog title="CreateWorkspace" onClose={closeDialog}></Dialog>;
}
