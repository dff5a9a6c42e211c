import { Dialog } from "@/ui/Dialog";
import { closeDialog } from "./dialogs";

export default function Palette() {
  return <Dialog title="Palette" onClose={closeDialog}></Dialog>;
}
