import { useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useState } from "react";
import { adminUsersQuery, meQuery } from "@/api/queries";
import type { AdminUser } from "@/api/schema.gen";
import { matches } from "@/lib/search";
import { count } from "@/lib/size";
import { Ago } from "@/ui/Ago";
import { Badge } from "@/ui/Badge";
import { type Column, DataTable } from "@/ui/DataTable";
import { Empty } from "@/ui/Empty";
import { Loaded } from "@/ui/Loaded";
import styles from "./Admin.module.css";
import { AdminPage } from "./AdminPage";
import { ListToolbar } from "./ListToolbar";
import { UserDialog } from "./UserDialog";
import { UserMenu } from "./UserMenu";
import type { UserAct } from "./user-acts";

export default function Users() {
  return (
    <AdminPage title="Users">
      <List />
    </AdminPage>
  );
}

function List() {
  const query = useQuery(adminUsersQuery);
  const search = useSearch({ from: "/signed-in/admin/users" });
  const navigate = useNavigate({ from: "/admin/users" });
  const me = useQuery(meQuery).data;
  const [asked, setAsked] = useState<{ user: AdminUser; act: UserAct }>();
  const found = query.data?.filter((user) => matches(`${user.username} ${user.email ?? ""}`, search.q ?? ""));
  const columns: Column<AdminUser>[] = [
    { title: "User", kind: "main", cell: (user) => <Who user={user} isMe={user.id === me?.id} /> },
    {
      title: "Last seen",
      kind: "short",
      cell: (user) =>
        user.lastSeenAt === null ? <span className="quiet">never</span> : <Ago time={user.lastSeenAt} />,
    },
    { title: "Since", kind: "short", cell: (user) => <Ago time={user.createdAt} /> },
    { title: "Workspaces", kind: "short", cell: (user) => user.workspaces },
    {
      title: "What can be done",
      kind: "actions",
      cell: (user) => user.id !== me?.id && <UserMenu user={user} onAsk={(act) => setAsked({ user, act })} />,
    },
  ];
  return (
    <>
      <ListToolbar
        by="name or e-mail address"
        search={search}
        onSearch={(wanted) => void navigate({ search: wanted, replace: true })}
        count={found && count(found.length, "user", "users")}
      />
      <Loaded query={query} what="the users">
        {() =>
          found?.length === 0 ? (
            <Empty title="No user matches">Take away a word of the filter.</Empty>
          ) : (
            <DataTable label="Users" columns={columns} rows={found ?? []} rowKey={(user) => user.id} />
          )
        }
      </Loaded>
      {asked && <UserDialog {...asked} onClose={() => setAsked(undefined)} />}
    </>
  );
}

function Who({ user, isMe }: { user: AdminUser; isMe: boolean }) {
  return (
    <>
      <span className={styles.who}>
        <span className={`${styles.name} ${user.disabledAt === null ? "" : styles.gone}`}>
          {user.username}
        </span>
        {isMe && <span className="quiet">you</span>}
        {user.isAdmin && <Badge tone="accent">Admin</Badge>}
        {user.disabledAt !== null && <Badge tone="bad">Disabled</Badge>}
      </span>
      {user.email !== null && <div className={styles.under}>{user.email}</div>}
    </>
  );
}
