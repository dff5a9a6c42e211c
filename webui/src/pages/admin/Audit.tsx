import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { adminUsersQuery, adminWorkspacesQuery, auditQuery } from "@/api/queries";
import { AdminPage } from "./AdminPage";
import { AuditFilters } from "./AuditFilters";
import { AuditList } from "./AuditList";
import { KINDS } from "./audit-words";
import { type AuditSearch, auditSearch } from "./search";

export default function Audit() {
  return (
    <AdminPage title="Audit log">
      <Log />
    </AdminPage>
  );
}

function Log() {
  // An empty choice is none: the server would look for it.
  const filter = auditSearch({ ...useSearch({ from: "/signed-in/admin/audit" }) });
  const navigate = useNavigate({ from: "/admin/audit" });
  const query = useInfiniteQuery(auditQuery(filter));
  const names = new Map(useQuery(adminWorkspacesQuery).data?.map((one) => [one.id, one.name]));
  const users = useQuery(adminUsersQuery).data?.map((user) => user.username) ?? [];
  const choose = (change: AuditSearch) =>
    void navigate({ search: auditSearch({ ...filter, ...change }), replace: true });
  return (
    <>
      <AuditFilters filter={filter} users={users} kinds={KINDS} onFilter={choose} />
      <AuditList
        query={query}
        filter={filter}
        nameOf={(workspaceId) => names.get(workspaceId)}
        onActor={(actor) => choose({ actor })}
        onClear={() => void navigate({ search: {}, replace: true })}
      />
    </>
  );
}
