import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { workspacesQuery } from "@/api/queries";
import type { Sandbox } from "@/api/schema.gen";
import { useStore } from "@/lib/store";
import { losses } from "@/live/lost";
import { Page } from "@/ui/Page";

/** In the place of a sandbox that went away while somebody looked at it. */
export function Gone({ sandbox }: { sandbox: Sandbox }) {
  const workspaces = useQuery(workspacesQuery).data ?? [];
  const workspace = workspaces.find((one) => one.id === sandbox.workspaceId);
  const why = useStore(losses).get(sandbox.workspaceId);
  if (workspace === undefined) {
    return (
      <Page title={`You no longer see ${sandbox.name}`} windowTitle={sandbox.name}>
        <p className="quiet" role="status">
          {why === undefined &&
            "You are not a member of its workspace any more, or the workspace was deleted."}
          {why === "removed" &&
            "You are not a member of its workspace any more. The sandbox goes on without you; an owner of the workspace can add you again."}
          {why === "deleted" && "Its workspace was deleted, with its sandboxes and its disk."}
        </p>
        <p>
          <Link to="/">To your sandboxes</Link>
        </p>
      </Page>
    );
  }
  return (
    <Page title={`${sandbox.name} was deleted`} windowTitle={sandbox.name}>
      <p className="quiet" role="status">
        {sandbox.isLocal
          ? "Its machine is no longer connected. What is on the machine is still there."
          : "Its home is gone with it. The shared disk of the workspace is still there."}
      </p>
      <p>
        <Link to="/w/$workspaceId/sandboxes" params={{ workspaceId: workspace.id }}>
          To the sandboxes of {workspace.name}
        </Link>
      </p>
    </Page>
  );
}
