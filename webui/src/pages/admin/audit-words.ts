import type { AuditEntry } from "@/api/schema.gen";
import { browserInWords } from "@/lib/user-agent";

type Action = AuditEntry["action"];

interface Words {
  /** In the list to filter by. */
  name: string;
  /** What happened. {actor}, {target}, {workspace} and what is in the detail are put in. */
  sentence: string;
}

/** What the log knows, in the order of the list to filter by. A kind that is added to the API is missed here at once. */
export const ACTIONS: Record<Action, Words> = {
  "user.registered": { name: "Account created", sentence: "{actor} created an account" },
  "user.disabled": { name: "User disabled", sentence: "{actor} disabled {target}" },
  "user.enabled": { name: "User enabled", sentence: "{actor} enabled {target} again" },
  "user.admin_granted": { name: "Made admin", sentence: "{actor} made {target} an admin" },
  "user.admin_revoked": { name: "Admin taken away", sentence: "{actor} took admin rights from {target}" },
  "session.created": { name: "Signed in", sentence: "{actor} signed in" },
  "session.refused": { name: "Sign-in refused", sentence: "A sign-in as {target} was refused" },
  "session.ended": { name: "Signed out", sentence: "{actor} signed out" },
  "session.revoked": { name: "Session ended", sentence: "{actor} ended another of their sessions" },
  "workspace.created": { name: "Workspace created", sentence: "{actor} created the workspace {target}" },
  "workspace.renamed": {
    name: "Workspace renamed",
    sentence: "{actor} renamed the workspace {before} to {target}",
  },
  "workspace.deleted": { name: "Workspace deleted", sentence: "{actor} deleted the workspace {target}" },
  "member.added": { name: "Member added", sentence: "{actor} added {target} to {workspace} as {role}" },
  "member.changed": {
    name: "Role changed",
    sentence: "{actor} changed the role of {target} in {workspace} from {before} to {role}",
  },
  "member.removed": { name: "Member removed", sentence: "{actor} removed {target} from {workspace}" },
  "member.left": { name: "Member left", sentence: "{actor} left {workspace}" },
  "sandbox.created": { name: "Sandbox created", sentence: "{actor} created sandbox {target}" },
  "sandbox.renamed": { name: "Sandbox renamed", sentence: "{actor} renamed sandbox {before} to {target}" },
  "sandbox.timeout_changed": {
    name: "Idle timeout changed",
    sentence: "{actor} changed the idle timeout of sandbox {target} from {before} to {after}",
  },
  "sandbox.opened": { name: "Sandbox opened", sentence: "{actor} opened sandbox {target}" },
  "sandbox.paused": { name: "Sandbox paused", sentence: "{actor} paused sandbox {target}" },
  "sandbox.resumed": { name: "Sandbox resumed", sentence: "{actor} resumed sandbox {target}" },
  "sandbox.failed": { name: "Sandbox failed", sentence: "Sandbox {target} failed" },
  "sandbox.deleted": { name: "Sandbox deleted", sentence: "{actor} deleted sandbox {target}" },
  "agent_code.created": {
    name: "Code for a machine made",
    sentence: "{actor} made a code to connect a machine to {target}",
  },
  "machine.joined": { name: "Machine connected", sentence: "{actor} connected the machine {target}" },
};

/** The kinds of actions: the word before the dot, which the API takes for all of them. */
export const KINDS: Record<string, string> = {
  user: "Users",
  session: "Sign-ins",
  workspace: "Workspaces",
  member: "Members",
  sandbox: "Sandboxes",
  agent_code: "Codes",
  machine: "Machines",
};

export function kindOf(action: string): string {
  return action.split(".", 1)[0] ?? action;
}

/** A piece of a sentence: plain words, or the name of somebody or something. */
export interface Piece {
  text: string;
  is?: "actor" | "name";
}

/** What happened, as a sentence. `workspaceName`: the name of the entry's workspace, if it is known. */
export function sentenceOf(entry: AuditEntry, workspaceName: string | undefined): Piece[] {
  const template = templateOf(entry);
  if (template === null) return unknown(entry);
  const names = namesOf(entry, workspaceName);
  return template
    .split(/(\{\w+\})/)
    .filter(Boolean)
    .map((part): Piece => {
      const word = /^\{(\w+)\}$/.exec(part)?.[1];
      if (word === undefined) return { text: part };
      if (word === "actor") return { text: names[word] ?? "The server", is: entry.actor ? "actor" : "name" };
      return { text: names[word] ?? "?", is: "name" };
    });
}

function templateOf(entry: AuditEntry): string | null {
  if (!Object.hasOwn(ACTIONS, entry.action)) return null;
  if (entry.action === "session.refused" && entry.target === null) {
    return "A sign-in with a name that no user has was refused";
  }
  return ACTIONS[entry.action].sentence;
}

function namesOf(entry: AuditEntry, workspaceName: string | undefined): Record<string, string> {
  const { actor, target, workspaceId, detail } = entry;
  return {
    ...detail,
    ...(actor && { actor: actor.username === "" ? actor.id : actor.username }),
    ...(target && { target: target.name }),
    workspace: workspaceName ?? (workspaceId === null ? "a workspace" : `workspace ${workspaceId}`),
  };
}

/** What a newer server knows and this page does not, as it is. */
function unknown({ actor, action, target }: AuditEntry): Piece[] {
  return [
    actor ? { text: actor.username, is: "actor" } : { text: "The server", is: "name" },
    { text: `: ${action}` },
    ...(target ? [{ text: " " }, { text: target.name, is: "name" as const }] : []),
  ];
}

/** What else is known of it, in words, beside what the sentence says. */
export function notesOf(entry: AuditEntry): string[] {
  const said = templateOf(entry) ?? "";
  return Object.entries(entry.detail).flatMap(([name, text]) => {
    // The session is the same string for all that was done in it; of no use to a reader without the others.
    if (name === "session" || text === "" || said.includes(`{${name}}`)) return [];
    if (name === "browser") return [browserInWords(text)];
    if (name === "admin") return text === "yes" ? ["the first user, so an admin"] : [];
    if (name === "sessions") return [text === "1" ? "1 session ended" : `${text} sessions ended`];
    if (name === "reason") return [text];
    if (name === "further") return [`further refusals are ${text}`];
    if (name === "role") return [`was ${text}`];
    return [`${name}: ${text}`];
  });
}
