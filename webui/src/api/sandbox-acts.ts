import { type QueryClient, useMutation, useMutationState, useQueryClient } from "@tanstack/react-query";
import { api } from "./client";
import { ApiError } from "./errors";
import { keys } from "./queries";
import type { Sandbox } from "./schema.gen";

export type SandboxAct = "pause" | "resume" | "delete" | "change";

interface Wanted {
  act: SandboxAct;
  sandbox: Pick<Sandbox, "id" | "workspaceId">;
  /** For `change`. */
  change?: { name?: string; idleTimeout?: string | null };
}

const KEY = ["sandbox-act"];

async function carryOut({ act, sandbox, change }: Wanted): Promise<void> {
  const options = { params: { path: { sandboxId: sandbox.id } } };
  if (act === "pause") await api.POST("/api/sandboxes/{sandboxId}/pause", options);
  else if (act === "resume") await api.POST("/api/sandboxes/{sandboxId}/resume", options);
  else if (act === "delete") await api.DELETE("/api/sandboxes/{sandboxId}", options);
  else await api.PATCH("/api/sandboxes/{sandboxId}", { ...options, body: change ?? {} });
}

/**
 * Pause, resume, delete or change a sandbox. The status that is shown stays the server's last word: an event, or the
 * answer to the question that follows the call, changes it.
 */
export function useSandboxAct() {
  const client = useQueryClient();
  return useMutation({
    mutationKey: KEY,
    mutationFn: carryOut,
    onSettled: (_data, _error, { sandbox }) =>
      Promise.all([
        client.invalidateQueries({ queryKey: keys.sandboxes(sandbox.workspaceId) }),
        client.invalidateQueries({ queryKey: keys.sandbox(sandbox.id) }),
      ]),
  });
}

/** What was asked of this sandbox, from anywhere on the page, and is under way. */
export function usePendingAct(sandboxId: string): SandboxAct | undefined {
  return useActs(sandboxId, "pending")[0]?.act;
}

/** What was asked last of this sandbox, from anywhere on the page, if it failed and nobody has closed the message. */
export function useFailedAct(
  sandboxId: string,
): { act: SandboxAct; error: Error; close: () => void } | undefined {
  const client = useQueryClient();
  const all = useMutationState({
    filters: { mutationKey: KEY },
    select: (mutation) => ({ ...mutation.state, variables: mutation.state.variables as Wanted, mutation }),
  }).filter(({ variables }) => variables?.sandbox.id === sandboxId);
  const last = all[all.length - 1];
  if (last === undefined || last.status !== "error" || last.error === null) return undefined;
  const close = () => client.getMutationCache().remove(last.mutation);
  return { act: last.variables.act, error: last.error, close };
}

/**
 * Forget what got no answer: the server is back, everything is asked for again, and the page shows whether it was done.
 */
export function forgetUnanswered(client: QueryClient): void {
  const acts = client.getMutationCache();
  for (const act of acts.findAll({ mutationKey: KEY, status: "error" })) {
    if (act.state.error instanceof ApiError && act.state.error.status === 0) acts.remove(act);
  }
}

function useActs(sandboxId: string, status: "pending") {
  return useMutationState({
    filters: { mutationKey: KEY, status },
    select: (mutation) => mutation.state.variables as Wanted,
  }).filter((wanted) => wanted?.sandbox.id === sandboxId);
}

/** The address by which a browser opens a sandbox, or `port` inside it. */
export function openHref(sandbox: Pick<Sandbox, "id">, next?: string): string {
  const query = next === undefined ? "" : `?next=${encodeURIComponent(next)}`;
  return `/api/sandboxes/${sandbox.id}/open${query}`;
}
