// The token of an invitation: it came in the fragment of a link, which no server sees. It is kept by this tab only, for
// the way by the sign-in page or a provider and back, and it is in no address from then on.

import { Store } from "./store";

const NAME = "invitation";

/** Where it is looked at. */
export const INVITE_PAGE = "/invite";
/** Where one is led who went in with it at a provider: there is nothing to ask any more. */
export const JOINED_PAGE = `${INVITE_PAGE}?joined=true`;

interface Kept {
  token: string;
  /** The workspace that it is to, once the server has said so. */
  workspaceName?: string;
}

/** Where the tab has no storage: until the page is loaded anew. */
let kept: Kept | null = null;

function keep(value: Kept | null): void {
  kept = value;
  try {
    if (value === null) sessionStorage.removeItem(NAME);
    else sessionStorage.setItem(NAME, JSON.stringify(value));
  } catch {
    // Then the memory has to do.
  }
}

function read(): Kept | null {
  if (kept !== null) return kept;
  try {
    const value: unknown = JSON.parse(sessionStorage.getItem(NAME) ?? "null");
    if (typeof value !== "object" || value === null || !("token" in value)) return null;
    const name = "workspaceName" in value ? value.workspaceName : undefined;
    if (typeof value.token !== "string") return null;
    kept = { token: value.token, ...(typeof name === "string" && { workspaceName: name }) };
    return kept;
  } catch {
    return null;
  }
}

/** How often a link was opened in this tab: another one may come while the page of the last is shown. */
export const timesOpened = new Store(0);

export function keepInvitation(token: string): void {
  if (token !== read()?.token) keep({ token });
  timesOpened.set(timesOpened.value + 1);
}

/** It was used, or is good for nothing. */
export function dropInvitation(): void {
  keep(null);
}

/** The invitation that this tab was opened with, if it has not been used. */
export function keptInvitation(): string | null {
  return read()?.token ?? null;
}

/** To which workspace it is, for the time when it is used up and cannot be asked. */
export function keepWorkspaceName(workspaceName: string): void {
  const value = read();
  if (value !== null) keep({ ...value, workspaceName });
}

export function keptWorkspaceName(): string | undefined {
  return read()?.workspaceName;
}

/** The one to go in with, where the way leads back to it. */
export function invitationFor(next: string | undefined): string | null {
  return next === INVITE_PAGE ? keptInvitation() : null;
}
