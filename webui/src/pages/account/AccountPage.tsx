import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { Page } from "@/ui/Page";
import tabs from "@/ui/TabLinks.module.css";

const PLACES = [
  { to: "/account/sessions", label: "Sessions" },
  { to: "/account/sign-in", label: "Sign-in" },
  { to: "/account/tokens", label: "API tokens" },
] as const;

export interface AccountPageProps {
  title: string;
  actions?: ReactNode;
  children: ReactNode;
}

/** A page about one's own account. */
export function AccountPage({ title, actions, children }: AccountPageProps) {
  return (
    <Page title={title} windowTitle={`${title} · Account`} narrow {...(actions !== undefined && { actions })}>
      <nav className={tabs.tabs} aria-label="Account">
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
