import type { Sandbox } from "@/api/schema.gen";
import { matches } from "@/lib/search";

/** From so many on, one searches rather than reads: more do not fit on a laptop's screen at a glance. */
export const WORTH_A_FILTER = 8;

export interface Filter {
  typed: string;
  /** Of one group of statuses only. */
  group: Group | null;
}

export const NO_FILTER: Filter = { typed: "", group: null };

export type Group = "running" | "changing" | "paused" | "offline" | "failed";

/** Statuses that pass by themselves are one group: nobody looks for what is pausing. */
const GROUPS: Record<Sandbox["status"], Group> = {
  running: "running",
  creating: "changing",
  pausing: "changing",
  resuming: "changing",
  deleting: "changing",
  paused: "paused",
  offline: "offline",
  failed: "failed",
};

const ORDER: readonly Group[] = ["running", "changing", "paused", "offline", "failed"];

/** How many there are of each group that is not empty. */
export function counts(sandboxes: readonly Sandbox[]): { group: Group; count: number }[] {
  return ORDER.map((group) => ({
    group,
    count: sandboxes.filter((sandbox) => GROUPS[sandbox.status] === group).length,
  })).filter(({ count }) => count > 0);
}

/** Those that the filter lets through, the newest first: what was made last is where one works. */
export function shown(sandboxes: readonly Sandbox[], filter: Filter): Sandbox[] {
  return sandboxes
    .filter((sandbox) => filter.group === null || GROUPS[sandbox.status] === filter.group)
    .filter((sandbox) => matches(searched(sandbox), filter.typed))
    .sort((one, other) => other.createdAt.localeCompare(one.createdAt) || one.id.localeCompare(other.id));
}

function searched(sandbox: Sandbox): string {
  return [sandbox.name, sandbox.id, sandbox.createdBy?.username ?? ""].join(" ");
}
