import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { adminWorkspacesQuery, workspacesQuery } from "@/api/queries";
import type { AdminWorkspace } from "@/api/schema.gen";
import { matches } from "@/lib/search";
import { count } from "@/lib/size";
import { Ago } from "@/ui/Ago";
import { type Column, DataTable } from "@/ui/DataTable";
import { Empty } from "@/ui/Empty";
import { Loaded } from "@/ui/Loaded";
import styles from "./Admin.module.css";
import { AdminPage } from "./AdminPage";
import { ListToolbar } from "./ListToolbar";

export default function Workspaces() {
  return (
    <AdminPage title="Workspaces">
      <List />
    </AdminPage>
  );
}

function List() {
  const query = useQuery(adminWorkspacesQuery);
  const search = useSearch({ from: "/signed-in/admin/workspaces" });
  const navigate = useNavigate({ from: "/admin/workspaces" });
  const mine = new Set(useQuery(workspacesQuery).data?.map((workspace) => workspace.id));
  const found = query.data?.filter((one) => matches(`${one.name} ${one.owners.join(" ")}`, search.q ?? ""));
  const columns: Column<AdminWorkspace>[] = [
    {
      title: "Workspace",
      kind: "main",
      cell: (one) =>
        mine.has(one.id) ? (
          <Link to="/w/$workspaceId/sandboxes" params={{ workspaceId: one.id }} className={styles.name}>
            {one.name}
          </Link>
        ) : (
          <span className={styles.name}>{one.name}</span>
        ),
    },
    { title: "Owners", cell: (one) => one.owners.join(", ") },
    { title: "Since", kind: "short", cell: (one) => <Ago time={one.createdAt} /> },
    { title: "Members", kind: "number", cell: (one) => one.members },
    {
      title: "Sandboxes",
      kind: "number",
      cell: (one) => (one.running === 0 ? one.sandboxes : `${one.sandboxes} (${one.running} running)`),
    },
  ];
  return (
    <>
      <ListToolbar
        by="name or owner"
        search={search}
        onSearch={(wanted) => void navigate({ search: wanted, replace: true })}
        count={found && count(found.length, "workspace", "workspaces")}
      />
      <Loaded query={query} what="the workspaces">
        {(all) =>
          found?.length === 0 ? (
            <Empty title={all.length === 0 ? "No workspaces" : "No workspace matches"}>
              {all.length === 0
                ? "Everybody gets one with their account, and can make more."
                : "Take away a word of the filter."}
            </Empty>
          ) : (
            <DataTable label="Workspaces" columns={columns} rows={found ?? []} rowKey={(one) => one.id} />
          )
        }
      </Loaded>
    </>
  );
}
