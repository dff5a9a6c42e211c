import type { NewToken } from "@/api/schema.gen";

export type Scope = NewToken["scopes"][number];

interface Words {
  name: string;
  /** What a token with it may do, within what its user may. */
  what: string;
}

/** The smallest first. */
export const SCOPES: Readonly<Record<Scope, Words>> = {
  read: { name: "Read", what: "See your workspaces, with their members, sandboxes, logs and usage." },
  write: {
    name: "Change",
    what: "Create, pause, resume and delete sandboxes; change workspaces and their members.",
  },
  open: {
    name: "Open sandboxes",
    what: "Get into sandboxes, and so to the files, the terminal and the agent in them.",
  },
  admin: {
    name: "Admin",
    what: "What the admin pages do: all users, workspaces and sandboxes, and the audit log.",
  },
};

export const SCOPE_ORDER: readonly Scope[] = ["read", "write", "open", "admin"];

/** "Read, Change". */
export function scopeNames(scopes: readonly Scope[]): string {
  return SCOPE_ORDER.filter((scope) => scopes.includes(scope))
    .map((scope) => SCOPES[scope].name)
    .join(", ");
}

/** A call to try a token with, which is no part of it: what is typed into a shell stays in its history. */
export function exampleCall(origin: string, scopes: readonly Scope[]): string | null {
  const path = scopes.includes("read")
    ? "/api/workspaces"
    : scopes.includes("admin")
      ? "/api/admin/users"
      : null;
  return path === null ? null : `curl -H "Authorization: Bearer $CLI_SERVER_TOKEN" ${origin}${path}`;
}
