import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { adminSandboxesQuery, workspacesQuery } from "@/api/queries";
import type { AdminSandbox } from "@/api/schema.gen";
import { matches } from "@/lib/search";
import { count } from "@/lib/size";
import { Ago } from "@/ui/Ago";
import { Badge } from "@/ui/Badge";
import { type Column, DataTable } from "@/ui/DataTable";
import { Empty } from "@/ui/Empty";
import { Loaded } from "@/ui/Loaded";
import { Status } from "@/ui/Status";
import styles from "./Admin.module.css";
import { AdminPage } from "./AdminPage";
import { ListToolbar } from "./ListToolbar";

export default function AdminSandboxes() {
  return (
    <AdminPage title="All sandboxes">
      <List />
    </AdminPage>
  );
}

/** All that one may look for. */
function text(one: AdminSandbox): string {
  return [one.name, one.workspaceName, one.createdBy?.username, one.status, one.type, one.id].join(" ");
}

function List() {
  const query = useQuery(adminSandboxesQuery);
  const search = useSearch({ from: "/signed-in/admin/sandboxes" });
  const navigate = useNavigate({ from: "/admin/sandboxes" });
  const mine = new Set(useQuery(workspacesQuery).data?.map((workspace) => workspace.id));
  const found = query.data?.filter((one) => matches(text(one), search.q ?? ""));
  const columns: Column<AdminSandbox>[] = [
    {
      title: "Sandbox",
      kind: "main",
      cell: (one) => <Name sandbox={one} isMine={mine.has(one.workspaceId)} />,
    },
    { title: "Status", kind: "short", cell: (one) => <Status status={one.status} /> },
    { title: "Workspace", cell: (one) => one.workspaceName },
    {
      title: "Made by",
      cell: (one) => one.createdBy?.username ?? <span className="quiet">a user who is gone</span>,
    },
    { title: "Last activity", kind: "short", cell: (one) => <Ago time={one.lastActivityAt} /> },
  ];
  return (
    <>
      <ListToolbar
        by="name, workspace, user, status"
        search={search}
        onSearch={(wanted) => void navigate({ search: wanted, replace: true })}
        count={found && count(found.length, "sandbox", "sandboxes")}
      />
      <Loaded query={query} what="the sandboxes">
        {(all) =>
          found?.length === 0 ? (
            <Empty title={all.length === 0 ? "No sandboxes" : "No sandbox matches"}>
              {all.length === 0
                ? "What anybody on this server creates or connects is listed here, whatever its workspace."
                : "Take away a word of the filter."}
            </Empty>
          ) : (
            <DataTable label="All sandboxes" columns={columns} rows={found ?? []} rowKey={(one) => one.id} />
          )
        }
      </Loaded>
    </>
  );
}

/** Its name, which leads to it if one may go there, and why it failed. */
function Name({ sandbox, isMine }: { sandbox: AdminSandbox; isMine: boolean }) {
  return (
    <>
      <span className={styles.who}>
        {isMine ? (
          <Link to="/sandboxes/$sandboxId" params={{ sandboxId: sandbox.id }} className={styles.name}>
            {sandbox.name}
          </Link>
        ) : (
          <span className={styles.name}>{sandbox.name}</span>
        )}
        <Badge>{sandbox.isLocal ? "Local" : "Cloud"}</Badge>
      </span>
      {sandbox.statusReason !== null && <div className={styles.under}>{sandbox.statusReason}</div>}
    </>
  );
}
