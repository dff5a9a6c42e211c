import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { may } from "@/api/permissions";
import { membersQuery, workspaceAuditQuery } from "@/api/queries";
import type { Workspace } from "@/api/schema.gen";
import { AuditFilters } from "@/pages/admin/AuditFilters";
import { AuditList } from "@/pages/admin/AuditList";
import { WORKSPACE_KINDS } from "@/pages/admin/audit-words";
import { type AuditSearch, auditSearch } from "@/pages/admin/search";
import { NothingHere } from "@/pages/Failed";
import { useWorkspace } from "@/shell/workspace";
import { Page } from "@/ui/Page";

/** What happened in a workspace. To all but its owners it is not there. */
export default function WorkspaceAudit() {
  const workspace = useWorkspace();
  if (workspace === undefined) return null;
  if (!may(workspace.role, "read_audit")) return <NothingHere />;
  return (
    <Page title="Audit log" windowTitle={`Audit log · ${workspace.name}`}>
      <Log workspace={workspace} />
    </Page>
  );
}

function Log({ workspace }: { workspace: Workspace }) {
  // An empty choice is none: the server would look for it.
  const filter = auditSearch({ ...useSearch({ from: "/signed-in/w/$workspaceId/settings/audit" }) });
  const navigate = useNavigate({ from: "/w/$workspaceId/settings/audit" });
  const query = useInfiniteQuery(workspaceAuditQuery(workspace.id, filter));
  const users = useQuery(membersQuery(workspace.id)).data?.map((member) => member.username) ?? [];
  const choose = (change: AuditSearch) =>
    void navigate({ search: auditSearch({ ...filter, ...change }), replace: true });
  return (
    <>
      <AuditFilters filter={filter} users={users} kinds={WORKSPACE_KINDS} onFilter={choose} />
      <AuditList
        query={query}
        filter={filter}
        nameOf={() => workspace.name}
        onActor={(actor) => choose({ actor })}
        onClear={() => void navigate({ search: {}, replace: true })}
      />
    </>
  );
}
