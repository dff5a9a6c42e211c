import { useQuery } from "@tanstack/react-query";
import { Link, Outlet, useParams } from "@tanstack/react-router";
import { useEffect, useRef } from "react";
import { workspacesQuery } from "@/api/queries";
import type { Workspace } from "@/api/schema.gen";
import { closeDialog, dialog } from "@/dialogs/dialogs";
import { useStore } from "@/lib/store";
import { losses } from "@/live/lost";
import { firstWorkspace } from "@/shell/workspace";
import { buttonClass } from "@/ui/Button";
import { Loaded } from "@/ui/Loaded";
import { Page } from "@/ui/Page";
import { NothingHere } from "./Failed";

/** The pages of one workspace, for its members. */
export function WorkspaceLayout() {
  const { workspaceId } = useParams({ from: "/signed-in/w/$workspaceId" });
  const query = useQuery(workspacesQuery);
  const seen = useRef<Workspace>(undefined);
  return (
    <Loaded query={query} what="your workspaces" alone>
      {(workspaces) => {
        const here = workspaces.find((workspace) => workspace.id === workspaceId);
        if (here !== undefined) {
          seen.current = here;
          return <Outlet key={workspaceId} />;
        }
        if (seen.current?.id !== workspaceId) return <NothingHere what="workspace" />;
        return <Gone workspace={seen.current} next={firstWorkspace(workspaces)} />;
      }}
    </Loaded>
  );
}

/** It went away under the open page. */
function Gone({ workspace, next }: { workspace: Workspace; next: Workspace | undefined }) {
  const why = useStore(losses).get(workspace.id);
  useEffect(() => {
    // What is asked in it can only fail. Its own deletion is still being answered.
    if (dialog.value?.kind !== "delete-workspace") closeDialog();
  }, []);
  return (
    <Page
      title={
        why === "deleted" ? `“${workspace.name}” was deleted` : `You are no longer in “${workspace.name}”`
      }
    >
      <p role="alert">{TEXT[why ?? "unknown"]}</p>
      <p>
        {next === undefined ? (
          <Link to="/" className={buttonClass("primary")}>
            To your workspaces
          </Link>
        ) : (
          <Link
            to="/w/$workspaceId/sandboxes"
            params={{ workspaceId: next.id }}
            className={buttonClass("primary")}
          >
            Go to “{next.name}”
          </Link>
        )}
      </p>
    </Page>
  );
}

const TEXT = {
  deleted: "Its sandboxes and its disk went with it. Machines that were connected keep what is on them.",
  removed:
    "You left, or you were removed. Nothing in it was changed: its sandboxes stay with its members. One of its owners can add you again.",
  unknown: "It was deleted, or you were removed from it, while there was no connection to the server.",
} as const;
