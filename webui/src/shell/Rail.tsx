import { useQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { Box, Boxes, ChartColumn, FileClock, Settings, Users } from "lucide-react";
import { meQuery } from "@/api/queries";
import type { Workspace } from "@/api/schema.gen";
import styles from "./Rail.module.css";

const PLACES = [
  { to: "/w/$workspaceId/sandboxes", label: "Sandboxes", icon: Box },
  { to: "/w/$workspaceId/usage", label: "Usage", icon: ChartColumn },
  { to: "/w/$workspaceId/members", label: "Members", icon: Users },
  { to: "/w/$workspaceId/settings", label: "Settings", icon: Settings },
] as const;

const ADMIN = [
  { to: "/admin/users", label: "Users", icon: Users },
  { to: "/admin/workspaces", label: "Workspaces", icon: Boxes },
  { to: "/admin/sandboxes", label: "All sandboxes", icon: Box },
  { to: "/admin/audit", label: "Audit log", icon: FileClock },
] as const;

/** The ways on: at the left, and at the bottom of a phone. */
export function Rail({ workspace }: { workspace: Workspace | undefined }) {
  const isAdmin = useQuery(meQuery).data?.isAdmin ?? false;
  const onSandbox = useParams({ strict: false }).sandboxId !== undefined;
  return (
    <nav className={styles.rail} aria-label="Workspace">
      {workspace &&
        PLACES.map(({ to, label, icon: Icon }) => (
          <Link
            key={to}
            to={to}
            params={{ workspaceId: workspace.id }}
            className={`${styles.item} ${onSandbox && label === "Sandboxes" ? styles.within : ""}`}
          >
            <Icon aria-hidden="true" />
            {label}
          </Link>
        ))}
      {isAdmin && (
        <div className={styles.admin}>
          <h2 className={styles.heading}>Admin</h2>
          {ADMIN.map(({ to, label, icon: Icon }) => (
            <Link key={to} to={to} className={styles.item}>
              <Icon aria-hidden="true" />
              {label}
            </Link>
          ))}
        </div>
      )}
    </nav>
  );
}
