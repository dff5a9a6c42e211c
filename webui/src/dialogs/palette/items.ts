import { type Offer, offers, offerWords } from "@/api/offers";
import { may } from "@/api/permissions";
import type { Sandbox, Workspace } from "@/api/schema.gen";
import { matches, rank, words } from "@/lib/search";
import type { Theme } from "@/lib/theme";
import type { OpenDialog } from "../dialogs";

// What the palette offers, as data: which items there are for whom, and which of them fit what was typed.

/** What an item does. */
export type Deed =
  | { kind: "enter"; sandboxId: string }
  | { kind: "offer"; offer: Offer; sandbox: Sandbox }
  | { kind: "go"; path: string }
  | { kind: "dialog"; dialog: OpenDialog }
  | { kind: "theme"; theme: Theme }
  | { kind: "sign-out" };

export type GroupName = "Sandboxes" | "With a sandbox" | "Commands" | "Go to" | "Workspaces" | "Theme";

export interface Item {
  id: string;
  group: GroupName;
  text: string;
  /** Beside it, in small; searched, too. */
  detail?: string;
  /** Of a sandbox: its status. */
  status?: Sandbox["status"];
  checked?: boolean;
  deed: Deed;
}

export interface Known {
  isAdmin: boolean;
  /** Of the page that one is on. */
  workspace: Workspace | undefined;
  workspaces: readonly Workspace[];
  sandboxes: readonly Sandbox[];
  theme: Theme;
}

/** Without a word typed, so many sandboxes leave the commands in sight. */
export const SHOWN_UNASKED = 5;
/** More are no answer to a search. */
const SHOWN_FOUND = 20;

/** All that there is to begin with, that of the page's own workspace first. */
export function rootItems(known: Known): Item[] {
  return [
    ...byUse(known).map((sandbox) => sandboxItem(known, sandbox)),
    ...commandItems(known),
    ...placeItems(known),
    ...known.workspaces
      .filter(({ id }) => id !== known.workspace?.id)
      .map(({ id, name }) => go("Workspaces", `/w/${id}/sandboxes`, `Switch to ${name}`)),
    ...THEMES.map(([theme, text]): Item => {
      const deed: Deed = { kind: "theme", theme };
      return { id: `theme ${theme}`, group: "Theme", text, checked: theme === known.theme, deed };
    }),
    { id: "sign-out", group: "Commands", text: "Sign out", deed: { kind: "sign-out" } },
  ];
}

const THEMES: readonly [Theme, string][] = [
  ["system", "Theme: as the system"],
  ["light", "Theme: light"],
  ["dark", "Theme: dark"],
];

function byUse({ sandboxes, workspace }: Known): Sandbox[] {
  const elsewhere = (sandbox: Sandbox) => Number(sandbox.workspaceId !== workspace?.id);
  return [...sandboxes].sort(
    (one, other) =>
      elsewhere(one) - elsewhere(other) || other.lastActivityAt.localeCompare(one.lastActivityAt),
  );
}

function sandboxItem({ workspaces }: Known, sandbox: Sandbox): Item {
  const { id, name, status, workspaceId } = sandbox;
  const workspace = workspaces.find((one) => one.id === workspaceId)?.name;
  return {
    id,
    group: "Sandboxes",
    text: name,
    status,
    ...(workspaces.length > 1 && workspace !== undefined && { detail: workspace }),
    deed: { kind: "enter", sandboxId: id },
  };
}

function commandItems({ workspace }: Known): Item[] {
  const command = (text: string, dialog: OpenDialog): Item => {
    return { id: dialog.kind, group: "Commands", text, deed: { kind: "dialog", dialog } };
  };
  const items = [command("New workspace", { kind: "create-workspace" })];
  if (workspace !== undefined && may(workspace.role, "connect_agent"))
    items.unshift(command("Connect a machine", { kind: "connect-machine", workspaceId: workspace.id }));
  if (workspace !== undefined && may(workspace.role, "create_sandbox"))
    items.unshift(command("New sandbox", { kind: "create-sandbox", workspaceId: workspace.id }));
  return items;
}

function placeItems({ workspace, isAdmin }: Known): Item[] {
  const own = workspace === undefined ? [] : ["Sandboxes", "Usage", "Members", "Settings"];
  return [
    ...own.map((place) => go("Go to", `/w/${workspace?.id}/${place.toLowerCase()}`, place, workspace?.name)),
    go("Go to", "/account/sessions", "Where you are signed in"),
    go("Go to", "/account/sign-in", "How you sign in"),
    go("Go to", "/account/tokens", "API tokens"),
    ...(isAdmin ? ADMIN : []).map(([path, text]) => go("Go to", path, text, "Admin")),
  ];
}

const ADMIN: readonly [string, string][] = [
  ["/admin/users", "Users"],
  ["/admin/workspaces", "All workspaces"],
  ["/admin/sandboxes", "All sandboxes"],
  ["/admin/audit", "Audit log"],
];

function go(group: GroupName, path: string, text: string, detail?: string): Item {
  return { id: path, group, text, ...(detail !== undefined && { detail }), deed: { kind: "go", path } };
}

const OFFERS: readonly Offer[] = ["open", "resume", "pause", "logs", "copy", "rename", "delete"];

/** What can be done with one sandbox, by its status and one's role. */
export function sandboxItems(known: Known, sandbox: Sandbox): Item[] {
  const page = go("With a sandbox", `/sandboxes/${sandbox.id}`, "Go to its page");
  const [first, ...rest] = offersOf(known, sandbox).map((offer) => offerItem(offer, sandbox, false));
  return first === undefined ? [page] : [first, page, ...rest];
}

function offersOf({ workspaces }: Known, sandbox: Sandbox): Offer[] {
  const role = workspaces.find(({ id }) => id === sandbox.workspaceId)?.role;
  return OFFERS.filter((offer) => offers(offer, sandbox, role));
}

function offerItem(offer: Offer, sandbox: Sandbox, named: boolean): Item {
  const verb = offerWords(offer, sandbox);
  return {
    id: `${offer} ${sandbox.id}`,
    group: "With a sandbox",
    text: named ? `${verb}: ${sandbox.name}` : verb,
    deed: { kind: "offer", offer, sandbox },
  };
}

/** Of "pause alpha": with each sandbox what begins with the word that was typed first. */
export function offerItems(known: Known, typed: string): Item[] {
  const [verb = ""] = words(typed);
  if (verb.length < 2) return [];
  return byUse(known).flatMap((sandbox) =>
    offersOf(known, sandbox)
      .filter((offer) => offerWords(offer, sandbox).toLowerCase().startsWith(verb))
      .map((offer) => offerItem(offer, sandbox, true)),
  );
}

export interface Found {
  group: GroupName;
  items: Item[];
}

/** Those that fit what was typed, in their groups; the group with the best of them first. */
export function found(items: readonly Item[], typed: string): Found[] {
  const asked = typed.trim() !== "";
  const groups = new Map<GroupName, Item[]>();
  for (const item of items) {
    if (asked && !matches(`${item.text} ${item.detail ?? ""}`, typed)) continue;
    groups.set(item.group, [...(groups.get(item.group) ?? []), item]);
  }
  const all = [...groups].map(([group, list]) => ({ group, items: list }));
  if (!asked) return all.map((one) => (one.group === "Sandboxes" ? first(one, SHOWN_UNASKED) : one));
  const ranked = ({ text }: Item) => rank(text, typed);
  const best = (one: Found) => Math.min(...one.items.map(ranked));
  for (const one of all) one.items.sort((a, b) => ranked(a) - ranked(b));
  return all.sort((one, other) => best(one) - best(other)).map((one) => first(one, SHOWN_FOUND));
}

function first(one: Found, most: number): Found {
  return { ...one, items: one.items.slice(0, most) };
}
