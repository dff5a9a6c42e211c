import { lazy, Suspense } from "react";
import { useStore } from "@/lib/store";
import { dialog, type OpenDialog } from "./dialogs";

const Palette = lazy(() => import("./Palette"));
const CreateSandbox = lazy(() => import("./CreateSandbox"));
const ConnectMachine = lazy(() => import("./ConnectMachine"));
const RenameSandbox = lazy(() => import("./RenameSandbox"));
const DeleteSandboxes = lazy(() => import("./DeleteSandboxes"));
const CreateWorkspace = lazy(() => import("./CreateWorkspace"));
const DeleteWorkspace = lazy(() => import("./DeleteWorkspace"));

/** The dialog that is open. */
export function Dialogs() {
  const open = useStore(dialog);
  return <Suspense fallback={null}>{open !== null && shown(open)}</Suspense>;
}

function shown(open: OpenDialog) {
  switch (open.kind) {
    case "palette":
      return <Palette />;
    case "create-sandbox":
      return <CreateSandbox workspaceId={open.workspaceId} />;
    case "connect-machine":
      return <ConnectMachine workspaceId={open.workspaceId} />;
    case "rename-sandbox":
      return <RenameSandbox sandbox={open.sandbox} />;
    case "delete-sandboxes":
      return <DeleteSandboxes sandboxes={open.sandboxes} />;
    case "create-workspace":
      return <CreateWorkspace />;
    case "delete-workspace":
      return <DeleteWorkspace workspace={open.workspace} />;
  }
}
