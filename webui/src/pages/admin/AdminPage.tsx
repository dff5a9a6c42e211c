import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { meQuery } from "@/api/queries";
import { Page } from "@/ui/Page";
import tabs from "@/ui/TabLinks.module.css";
import { NothingHere } from "../Failed";
import styles from "./Admin.module.css";

const PLACES = [
  { to: "/admin/users", label: "Users" },
  { to: "/admin/workspaces", label: "Workspaces" },
  { to: "/admin/sandboxes", label: "Sandboxes" },
  { to: "/admin/audit", label: "Audit log" },
] as const;

/** A page for admins. To all others it is not there. */
export function AdminPage({ title, children }: { title: string; children: ReactNode }) {
  const me = useQuery(meQuery).data;
  if (me === undefined) return null;
  if (!me.isAdmin) return <NothingHere />;
  return (
    <Page title={title} windowTitle={`${title} · Admin`}>
      <nav className={`${tabs.tabs} ${styles.places}`} aria-label="Admin">
        {PLACES.map(({ to, label }) => (
          <Link key={to} to={to} className={tabs.tab}>
            {label}
          </Link>
        ))}
      </nav>
      {children}
    </Page>
  );
}
