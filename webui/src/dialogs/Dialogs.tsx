import { Component, lazy, type ReactNode, Suspense } from "react";
import { wordsOf } from "@/api/errors";
import { part, reloadIfGone } from "@/lib/parts";
import { useStore } from "@/lib/store";
import { notify } from "@/ui/Toasts";
import { closeDialog, dialog, type OpenDialog } from "./dialogs";

function load() {
  return {
    Palette: lazy(() => part(() => import("./Palette"))),
    CreateSandbox: lazy(() => part(() => import("./CreateSandbox"))),
    ConnectMachine: lazy(() => part(() => import("./ConnectMachine"))),
    RenameSandbox: lazy(() => part(() => import("./RenameSandbox"))),
    DeleteSandboxes: lazy(() => part(() => import("./DeleteSandboxes"))),
    CreateWorkspace: lazy(() => part(() => import("./CreateWorkspace"))),
    DeleteWorkspace: lazy(() => part(() => import("./DeleteWorkspace"))),
  };
}

let parts = load();

/** The dialog that is open. */
export function Dialogs() {
  const open = useStore(dialog);
  if (open === null) return null;
  return (
    <Fence>
      <Suspense fallback={null}>{shown(open)}</Suspense>
    </Fence>
  );
}

/** What goes wrong in a dialog does not take the page with it. */
class Fence extends Component<{ children: ReactNode }, { broken: boolean }> {
  override state = { broken: false };

  static getDerivedStateFromError() {
    return { broken: true };
  }

  override componentDidCatch(error: unknown) {
    // A part that failed once stays so; the next time all are asked for again.
    parts = load();
    closeDialog();
    notify(`This cannot be shown. ${wordsOf(error)}`, "bad");
    reloadIfGone(error);
  }

  override render() {
    return this.state.broken ? null : this.props.children;
  }
}

function shown(open: OpenDialog) {
  switch (open.kind) {
    case "palette":
      return <parts.Palette />;
    case "create-sandbox":
      return <parts.CreateSandbox workspaceId={open.workspaceId} />;
    case "connect-machine":
      return <parts.ConnectMachine workspaceId={open.workspaceId} />;
    case "rename-sandbox":
      return <parts.RenameSandbox sandbox={open.sandbox} />;
    case "delete-sandboxes":
      return <parts.DeleteSandboxes sandboxes={open.sandboxes} />;
    case "create-workspace":
      return <parts.CreateWorkspace />;
    case "delete-workspace":
      return <parts.DeleteWorkspace workspace={open.workspace} />;
  }
}
