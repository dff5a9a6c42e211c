import { CHOICES } from "@/dialogs/create/TimeoutField";
import { OWN } from "@/dialogs/create/wanted";
import { durationMs } from "@/lib/time";

export interface Choice {
  timeout: string;
  ownTimeout: string;
}

/** What is chosen to begin with. The API does not tell the server's own time from the same one that was set. */
export function choiceOf(idleTimeout: string | null, servers: string): Choice {
  const now = idleTimeout ?? servers;
  const same = (text: string) => durationMs(text) === durationMs(now);
  if (same(servers)) return { timeout: "", ownTimeout: now };
  const preset = CHOICES.find(([text]) => same(text));
  return { timeout: preset?.[0] ?? OWN, ownTimeout: now };
}

/** What is sent of it; `null` for the server's. */
export function timeoutOf({ timeout, ownTimeout }: Choice): string | null {
  if (timeout === "") return null;
  return timeout === OWN ? ownTimeout.trim() : timeout;
}
