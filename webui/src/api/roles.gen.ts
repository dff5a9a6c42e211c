// Made by scripts/write_types.py of daemon/auth/roles.py; do not edit.

export type Role = "owner" | "maintainer" | "developer" | "guest";

export type Action = "view" | "rename_workspace" | "delete_workspace" | "add_member" | "remove_member" | "change_role" | "create_sandbox" | "change_sandbox" | "open_sandbox" | "pause_sandbox" | "resume_sandbox" | "delete_sandbox" | "read_logs" | "connect_agent" | "read_audit";

export const PERMISSIONS: Readonly<Record<Role, ReadonlySet<Action>>> = {
  owner: new Set<Action>(["add_member", "change_role", "change_sandbox", "connect_agent", "create_sandbox", "delete_sandbox", "delete_workspace", "open_sandbox", "pause_sandbox", "read_audit", "read_logs", "remove_member", "rename_workspace", "resume_sandbox", "view"]),
  maintainer: new Set<Action>(["add_member", "change_sandbox", "connect_agent", "create_sandbox", "delete_sandbox", "open_sandbox", "pause_sandbox", "read_logs", "remove_member", "rename_workspace", "resume_sandbox", "view"]),
  developer: new Set<Action>(["change_sandbox", "connect_agent", "create_sandbox", "delete_sandbox", "open_sandbox", "pause_sandbox", "read_logs", "resume_sandbox", "view"]),
  guest: new Set<Action>(["view"]),
};

/** The roles that a role may give to newcomers and whose holders it may remove. */
export const MANAGES: Readonly<Record<Role, ReadonlySet<Role>>> = {
  owner: new Set<Role>(["developer", "guest", "maintainer", "owner"]),
  maintainer: new Set<Role>(["developer", "guest"]),
  developer: new Set<Role>([]),
  guest: new Set<Role>([]),
};
