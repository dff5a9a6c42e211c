import { useMutation, useQueryClient } from "@tanstack/react-query";
import { api } from "./client";
import { ApiError } from "./errors";
import { keys } from "./queries";

async function end(sessionId: string): Promise<void> {
  try {
    await api.DELETE("/api/auth/sessions/{sessionId}", { params: { path: { sessionId } } });
  } catch (error) {
    // It has ended by itself meanwhile: that is what was wanted.
    if (!(error instanceof ApiError) || error.code !== "session_not_found") throw error;
  }
}

/** Sign out other browsers and programs of mine, one after the other; those that are still signed in stay listed. */
export function useEndSessions() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: async (ids: readonly string[]) => {
      for (const id of ids) await end(id);
    },
    onSettled: () => client.invalidateQueries({ queryKey: keys.sessions }),
  });
}
