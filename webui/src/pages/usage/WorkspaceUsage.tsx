import { useQuery } from "@tanstack/react-query";
import { useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { sandboxesQuery } from "@/api/queries";
import { useWorkspace } from "@/shell/workspace";
import { Page } from "@/ui/Page";
import { UsageView } from "./UsageView";

/** What a workspace's sandboxes used, those that were deleted included. */
export default function WorkspaceUsage() {
  const { workspaceId } = useParams({ from: "/signed-in/w/$workspaceId" });
  const search = useSearch({ from: "/signed-in/w/$workspaceId/usage" });
  const navigate = useNavigate({ from: "/w/$workspaceId/usage" });
  const workspace = useWorkspace();
  const sandboxes = useQuery(sandboxesQuery(workspaceId)).data;
  return (
    <Page title="Usage" windowTitle={`Usage · ${workspace?.name ?? ""}`}>
      <UsageView
        of={{ workspaceId }}
        name={workspace?.name ?? ""}
        search={search}
        onSearch={(wanted) => void navigate({ search: wanted, replace: true })}
        sandboxNames={sandboxes && new Map(sandboxes.map((sandbox) => [sandbox.id, sandbox.name]))}
      />
    </Page>
  );
}
