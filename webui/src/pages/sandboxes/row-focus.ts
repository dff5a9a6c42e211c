import { Store } from "@/lib/store";

/** The row that takes the focus as soon as it is there. */
export const wantedRow = new Store<string | null>(null);

export function focusRow(sandboxId: string): void {
  wantedRow.set(sandboxId);
}
