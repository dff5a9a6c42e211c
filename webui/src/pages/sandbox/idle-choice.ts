import { durationMs } from "@/lib/time";

/** A break, a meeting, half a day, and never. */
export const PRESETS = ["15m", "1h", "4h", "0"] as const;

/** What to choose to begin with. The API does not tell the server's own time from the same one that was set. */
export function chosenOf(idleTimeout: string | null, usual: string | undefined): string {
  if (idleTimeout === null) return "usual";
  const same = (text: string) => durationMs(text) === durationMs(idleTimeout);
  if (usual !== undefined && same(usual)) return "usual";
  return PRESETS.find(same) ?? "own";
}

/** What is sent of it; `null` for the server's. */
export function wantedOf(choice: string, own: string): string | null {
  if (choice === "usual") return null;
  return choice === "own" ? own.trim() : choice;
}
