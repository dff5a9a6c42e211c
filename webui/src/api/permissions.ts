import { type Action, MANAGES, PERMISSIONS, type Role } from "./roles.gen";

/** Whether a member with this role may do it. Controls are shown by it; the server decides. */
export function may(role: Role | undefined, action: Action): boolean {
  return role !== undefined && PERMISSIONS[role].has(action);
}

/** The roles that one may give to a newcomer, the smallest first. */
export function rolesToGive(role: Role | undefined): Role[] {
  const all: Role[] = ["guest", "developer", "maintainer", "owner"];
  return role === undefined ? [] : all.filter((other) => MANAGES[role].has(other));
}

/** Whether one may remove another member who has the role `target`. */
export function mayRemove(role: Role | undefined, target: Role): boolean {
  return may(role, "remove_member") && role !== undefined && MANAGES[role].has(target);
}
