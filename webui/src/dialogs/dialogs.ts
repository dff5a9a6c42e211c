import type { Sandbox, Workspace } from "@/api/schema.gen";
import { Store } from "@/lib/store";

/** What can be asked for from anywhere: from a page, a menu or the palette. */
export type OpenDialog =
  | { kind: "palette" }
  | { kind: "create-sandbox"; workspaceId: string }
  | { kind: "connect-machine"; workspaceId: string }
  | { kind: "rename-sandbox"; sandbox: Sandbox }
  | { kind: "delete-sandboxes"; sandboxes: readonly Sandbox[] }
  | { kind: "create-workspace" }
  | { kind: "delete-workspace"; workspace: Workspace };

export const dialog = new Store<OpenDialog | null>(null);

/** What had the focus before the first of the dialogs that followed one another. */
let opener: Element | null = null;

export function openDialog(wanted: OpenDialog): void {
  if (dialog.value === null) opener = focused();
  dialog.set(wanted);
}

export function closeDialog(): void {
  dialog.set(null);
}

/**
 * The focus goes back where it came from. A dialog does that by itself, unless it was opened from a menu or from
 * another dialog, which are gone by then.
 */
export function returnFocus(): void {
  const lost = document.activeElement === null || document.activeElement === document.body;
  if (lost && opener instanceof HTMLElement && opener.isConnected) opener.focus();
  opener = null;
}

/** What has the focus; of a menu, the button that opened it. */
function focused(): Element | null {
  const active = document.activeElement;
  const menu = active?.closest('[role="menu"]');
  return menu ? document.getElementById(menu.getAttribute("aria-labelledby") ?? "") : active;
}
