import { useQuery } from "@tanstack/react-query";
import { Laptop, Plus } from "lucide-react";
import { may } from "@/api/permissions";
import { sandboxesQuery } from "@/api/queries";
import type { Workspace } from "@/api/schema.gen";
import { openDialog } from "@/dialogs/dialogs";
import { useWorkspace } from "@/shell/workspace";
import { Button } from "@/ui/Button";
import { Loaded } from "@/ui/Loaded";
import { Page } from "@/ui/Page";
import { FirstUse } from "./FirstUse";
import { SandboxList } from "./SandboxList";

/** The home: what runs in this workspace, and what can be done with it. */
export default function Sandboxes() {
  const workspace = useWorkspace();
  return workspace === undefined ? null : <OfWorkspace workspace={workspace} />;
}

function OfWorkspace({ workspace }: { workspace: Workspace }) {
  const query = useQuery(sandboxesQuery(workspace.id));
  const hasSome = query.data !== undefined && query.data.length > 0;
  return (
    <Page
      title="Sandboxes"
      windowTitle={`Sandboxes · ${workspace.name}`}
      actions={hasSome && <Actions workspace={workspace} />}
    >
      <Loaded query={query} what="the sandboxes">
        {(sandboxes) =>
          sandboxes.length === 0 ? (
            <FirstUse workspace={workspace} />
          ) : (
            <>
              {!may(workspace.role, "open_sandbox") && (
                <p className="quiet">You are a guest here: you see what runs, and open nothing.</p>
              )}
              <SandboxList workspace={workspace} sandboxes={sandboxes} />
            </>
          )
        }
      </Loaded>
    </Page>
  );
}

function Actions({ workspace: { id, role } }: { workspace: Workspace }) {
  return (
    <>
      {may(role, "connect_agent") && (
        <Button
          icon={<Laptop aria-hidden="true" />}
          onClick={() => openDialog({ kind: "connect-machine", workspaceId: id })}
        >
          Connect a machine
        </Button>
      )}
      {may(role, "create_sandbox") && (
        <Button
          kind="primary"
          icon={<Plus aria-hidden="true" />}
          onClick={() => openDialog({ kind: "create-sandbox", workspaceId: id })}
        >
          New sandbox
        </Button>
      )}
    </>
  );
}
