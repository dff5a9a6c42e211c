import { useQuery } from "@tanstack/react-query";
import { Navigate } from "@tanstack/react-router";
import { workspacesQuery } from "@/api/queries";
import { openDialog } from "@/dialogs/dialogs";
import { firstWorkspace } from "@/shell/workspace";
import { Button } from "@/ui/Button";
import { Empty } from "@/ui/Empty";
import { Loaded } from "@/ui/Loaded";
import { Page } from "@/ui/Page";

/** Leads to the workspace that one was in last. */
export default function Home() {
  const query = useQuery(workspacesQuery);
  return (
    <Loaded query={query} what="your workspaces" alone>
      {(workspaces) => {
        const first = firstWorkspace(workspaces);
        if (first === undefined) return <NoWorkspace />;
        return <Navigate to="/w/$workspaceId/sandboxes" params={{ workspaceId: first.id }} replace />;
      }}
    </Loaded>
  );
}

function NoWorkspace() {
  return (
    <Page title="Workspaces">
      <Empty
        title="You are in no workspace"
        action={
          <Button kind="primary" onClick={() => openDialog({ kind: "create-workspace" })}>
            New workspace
          </Button>
        }
      >
        A workspace holds sandboxes, a shared disk and the people who use them. Make one, or ask an owner of
        another to add you by your user name.
      </Empty>
    </Page>
  );
}
