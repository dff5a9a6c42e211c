import type { AuditEntry } from "@/api/schema.gen";
import { browserInWords } from "@/lib/user-agent";

type Action = AuditEntry["action"];

interface Words {
  /** In the list to filter by. */
  name: string;
  /** What happened. {actor}, {target}, {workspace} and what is in the detail are put in. */
  sentence: string;
  /** The same where it is not known on what. */
  without?: string;
}

/** What the log knows, in the order of the list to filter by. A kind that is added to the API is missed here at once. */
export const ACTIONS: Record<Action, Words> = {
  "user.registered": { name: "Account created", sentence: "{actor} created an account" },
  "user.disabled": { name: "User disabled", sentence: "{actor} disabled {target}" },
  "user.enabled": { name: "User enabled", sentence: "{actor} enabled {target} again" },
  "user.admin_granted": { name: "Made admin", sentence: "{actor} made {target} an admin" },
  "user.admin_revoked": { name: "Admin taken away", sentence: "{actor} took admin rights from {target}" },
  "session.created": { name: "Signed in", sentence: "{actor} signed in" },
  "session.refused": {
    name: "Sign-in refused",
    sentence: "A sign-in as {target} was refused",
    without: "A sign-in was refused",
  },
  "session.ended": { name: "Signed out", sentence: "{actor} signed out" },
  "session.revoked": { name: "Session ended", sentence: "{actor} ended another of their sessions" },
  "identity.linked": {
    name: "Account elsewhere linked",
    sentence: "{as} at {provider} signs in {target} from now on",
  },
  "identity.refused": { name: "Linking refused", sentence: "{actor} could not link an account elsewhere" },
  "identity.removed": {
    name: "Account elsewhere unlinked",
    sentence: "{actor} unlinked {as} at {provider}",
  },
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
  "token.created": { name: "API token made", sentence: "{actor} made the API token {name}" },
  "token.revoked": { name: "API token revoked", sentence: "{actor} revoked the API token {name}" },
  "invitation.created": {
    name: "Invitation made",
    sentence: "{actor} made a link to join {target} as {role}",
  },
  "invitation.revoked": {
    name: "Invitation withdrawn",
    sentence: "{actor} withdrew a link of {made_by} to join {target} as {role}",
  },
  "invitation.accepted": {
    name: "Invitation accepted",
    sentence: "{actor} joined {target} as {role} by a link of {made_by}",
  },
  "agent_code.created": {
    name: "Code for a machine made",
    sentence: "{actor} made a code to connect a machine to {target}",
  },
  "token.refused": { name: "API token refused", sentence: "An API token was refused" },
  "agent_code.refused": { name: "Code refused", sentence: "A code to connect a machine was refused" },
  "machine.joined": { name: "Machine connected", sentence: "{actor} connected the machine {target}" },
  "access.refused": {
    name: "Request refused",
    sentence: "{actor} was refused a request on {target}",
    without: "{actor} was refused a request",
  },
  "ticket.refused": {
    name: "Ticket refused",
    sentence: "A ticket to open sandbox {target} was refused",
    without: "A ticket to open a sandbox was refused",
  },
  "tunnel.refused": {
    name: "Tunnel refused",
    sentence: "A connection as the machine {target} was refused",
    without: "A connection as a machine was refused",
  },
};

/** The kinds of actions: the word before the dot, which the API takes for all of them. */
export const KINDS: Record<string, string> = {
  user: "Users",
  session: "Sign-ins",
  identity: "Accounts elsewhere",
  workspace: "Workspaces",
  member: "Members",
  token: "API tokens",
  invitation: "Invitations",
  sandbox: "Sandboxes",
  agent_code: "Codes",
  machine: "Machines",
  access: "Refused requests",
  ticket: "Tickets",
  tunnel: "Tunnels",
};

/** Those of which a workspace's own log can have entries. */
export const WORKSPACE_KINDS: Record<string, string> = Object.fromEntries(
  Object.entries(KINDS).filter(([kind]) => !["user", "session", "identity", "token"].includes(kind)),
);

/** How it ended, in the list to filter by. */
export const OUTCOMES: Record<AuditEntry["outcome"], string> = {
  done: "Done",
  refused: "Refused",
  failed: "Failed",
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
  // By an invitation they added themselves.
  if (entry.action === "member.added" && "invited_by" in entry.detail)
    return "{target} is a member of {workspace} now, as {role}";
  const { sentence, without } = ACTIONS[entry.action];
  return entry.target === null ? (without ?? sentence) : sentence;
}

function namesOf(entry: AuditEntry, workspaceName: string | undefined): Record<string, string> {
  const { actor, target, workspaceId, detail } = entry;
  return {
    ...detail,
    ...(detail.provider !== undefined && { provider: providerInWords(detail.provider) }),
    ...(actor && { actor: actor.username === "" ? actor.id : actor.username }),
    ...(target && { target: target.name }),
    workspace: workspaceName ?? (workspaceId === null ? "a workspace" : `workspace ${workspaceId}`),
  };
}

function providerInWords(id: string): string {
  return { github: "GitHub", oidc: "OIDC" }[id] ?? id;
}

/** What a newer server knows and this page does not, as it is. */
function unknown({ actor, action, target }: AuditEntry): Piece[] {
  return [
    actor ? { text: actor.username, is: "actor" } : { text: "The server", is: "name" },
    { text: `: ${action}` },
    ...(target ? [{ text: " " }, { text: target.name, is: "name" as const }] : []),
  ];
}

const IDS: ReadonlySet<string> = new Set(["session", "id"]);

/** What else is known of it, in words, beside what the sentence says. */
export function notesOf(entry: AuditEntry): string[] {
  const said = templateOf(entry) ?? "";
  return Object.entries(entry.detail).flatMap(([name, text]) => {
    // Ids are the same for all that has to do with one thing; of no use to a reader without the others.
    if (IDS.has(name) || text === "" || said.includes(`{${name}}`)) return [];
    if (name === "browser") return [browserInWords(text)];
    if (name === "admin") return text === "yes" ? ["the first user, so an admin"] : [];
    if (name === "sessions") return [text === "1" ? "1 session ended" : `${text} sessions ended`];
    if (name === "reason" || name === "request") return [text];
    if (name === "how") return [text];
    if (name === "until") return [`until ${text}`];
    if (name === "uses") return [text === "1" ? "for 1 person" : `for ${text} people`];
    // Who made it stands beside it where that is known.
    if (name === "invitation")
      return kindOf(entry.action) === "invitation" || "invited_by" in entry.detail
        ? []
        : ["by an invitation"];
    if (name === "invited_by") return [`by an invitation of ${text}`];
    if (name === "provider") return [`with ${providerInWords(text)}`];
    if (name === "by") return [`by ${text}`];
    if (name === "token") return ["by an API token"];
    if (name === "further") return [`further refusals are ${text}`];
    if (name === "role") return [`was ${text}`];
    return [`${name}: ${text}`];
  });
}
