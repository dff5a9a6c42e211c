import type { Role } from "@/api/roles.gen";

export const ROLES: readonly Role[] = ["owner", "maintainer", "developer", "guest"];

/** What a role may do, in words. */
export const ROLE_WORDS: Readonly<Record<Role, string>> = {
  owner: "Everything: members and their roles, and to delete the workspace.",
  maintainer: "Rename the workspace, add and remove developers and guests, and all that a developer may.",
  developer: "Create, open, pause, resume and delete sandboxes, and connect machines.",
  guest: "See the workspace, its members and its sandboxes, without opening or changing any.",
};

export function roleName(role: Role): string {
  return role.charAt(0).toUpperCase() + role.slice(1);
}
