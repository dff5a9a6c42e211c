import { Store } from "@/lib/store";

/** Why a workspace is no longer seen. */
export type Loss = "deleted" | "removed";

/** What the server said of workspaces that went away while a page was open, by id. */
export const losses = new Store<ReadonlyMap<string, Loss>>(new Map());

/** The members of a deleted workspace are removed one after the other; that it was deleted is what matters. */
export function tellLoss(workspaceId: string, why: Loss): void {
  if (losses.value.get(workspaceId) === "deleted") return;
  losses.set(new Map(losses.value).set(workspaceId, why));
}
