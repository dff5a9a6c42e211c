import type { Sandbox } from "@/api/schema.gen";
import { durationMs, span } from "@/lib/time";

const HOUR = 3_600_000;

/** Milliseconds until a sandbox is paused for want of use; below 0 when that is due; `null` where it never is. */
export function timeLeft(
  sandbox: Pick<Sandbox, "status" | "isLocal" | "idleTimeout" | "lastActivityAt">,
  now: number,
): number | null {
  const timeout = sandbox.isLocal || sandbox.status !== "running" ? null : durationMs(sandbox.idleTimeout);
  return timeout === null ? null : Date.parse(sandbox.lastActivityAt) + timeout - now;
}

/** "2 h 5 min", and to the second where minutes count: "12 min 05 s". */
export function leftWords(milliseconds: number): string {
  if (milliseconds >= HOUR || milliseconds < 60_000) return span(milliseconds);
  const seconds = Math.floor(milliseconds / 1000);
  return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, "0")} s`;
}
