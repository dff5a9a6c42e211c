import { useQuery } from "@tanstack/react-query";
import { Outlet, useParams } from "@tanstack/react-router";
import { workspacesQuery } from "@/api/queries";
import { Loaded } from "@/ui/Loaded";
import { NothingHere } from "./Failed";

/** The pages of one workspace, for its members. */
export function WorkspaceLayout() {
  const { workspaceId } = useParams({ from: "/signed-in/w/$workspaceId" });
  const query = useQuery(workspacesQuery);
  return (
    <Loaded query={query} what="your workspaces">
      {(workspaces) =>
        workspaces.some((workspace) => workspace.id === workspaceId) ? (
          <Outlet key={workspaceId} />
        ) : (
          <NothingHere what="workspace" />
        )
      }
    </Loaded>
  );
}
