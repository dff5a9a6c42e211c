import { may } from "./permissions";
import type { Action, Role } from "./roles.gen";
import type { Sandbox } from "./schema.gen";

// What can be done with a sandbox, by its status and type and by one's role. Rows, menus, the bar of a selection and
// the palette all ask here. The server decides; this keeps away what it would refuse.

export type Offer = "open" | "resume" | "pause" | "rename" | "copy" | "logs" | "delete";
type Status = Sandbox["status"];
type Known = Pick<Sandbox, "status" | "isLocal">;

const ACTIONS: Record<Offer, Action> = {
  open: "open_sandbox",
  resume: "resume_sandbox",
  pause: "pause_sandbox",
  rename: "change_sandbox",
  copy: "open_sandbox",
  logs: "read_logs",
  delete: "delete_sandbox",
};

const EVERY: readonly Status[] = [
  "creating",
  "running",
  "pausing",
  "paused",
  "resuming",
  "offline",
  "failed",
  "deleting",
];
const KEPT = EVERY.filter((status) => status !== "deleting");

/** From which statuses; those of the server's table (daemon/sandboxes/status.py). */
const STATUSES: Record<Offer, readonly Status[]> = {
  open: ["running"],
  resume: ["paused", "failed"],
  pause: ["running"],
  rename: KEPT,
  copy: KEPT,
  logs: EVERY,
  delete: KEPT,
};
/** Its owner starts and stops a local one, where it is. */
const CLOUD_ONLY: readonly Offer[] = ["resume", "pause", "logs"];

/** Whether it comes up by itself; its reason then says what it waits for, if anything. */
export function isStarting(status: Status): boolean {
  return status === "creating" || status === "resuming";
}

export function offers(offer: Offer, sandbox: Known, role: Role | undefined): boolean {
  if (sandbox.isLocal && CLOUD_ONLY.includes(offer)) return false;
  return may(role, ACTIONS[offer]) && STATUSES[offer].includes(sandbox.status);
}

/** The one thing that makes sense now; `null` while there is nothing but to wait, or where one may only look. */
export function mainOffer(sandbox: Known, role: Role | undefined): "open" | "resume" | null {
  if (offers("open", sandbox, role)) return "open";
  return offers("resume", sandbox, role) ? "resume" : null;
}

/** What it is called, where it is not named by an icon. */
export function offerWords(offer: Offer, sandbox: Known): string {
  const words: Record<Offer, string> = {
    open: "Open",
    resume: sandbox.status === "failed" ? "Try again" : "Resume",
    pause: "Pause",
    rename: "Rename",
    copy: "Copy address",
    logs: "Logs",
    delete: sandbox.isLocal ? "Disconnect" : "Delete",
  };
  return words[offer];
}

/** Of these sandboxes, the ones with which it can be done. */
export function offering<S extends Known>(
  offer: Offer,
  sandboxes: readonly S[],
  role: Role | undefined,
): S[] {
  return sandboxes.filter((sandbox) => offers(offer, sandbox, role));
}
