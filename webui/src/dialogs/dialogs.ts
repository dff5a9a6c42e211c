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

export function openDialog(wanted: OpenDialog): void {
  dialog.set(wanted);
}

export function closeDialog(): void {
  dialog.set(null);
}
