import { useMutation, useQueryClient } from "@tanstack/react-query";
import { api, dataOf } from "./client";
import { ApiError } from "./errors";
import { keys } from "./queries";
import type { NewToken } from "./schema.gen";

export function useCreateToken() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (body: NewToken) => dataOf(api.POST("/api/auth/tokens", { body })),
    onSettled: () => client.invalidateQueries({ queryKey: keys.tokens }),
    // Its secret is shown once: nothing keeps it after the page that does.
    gcTime: 0,
  });
}

export function useRevokeToken(tokenId: string, onDone: () => void) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: async () => {
      try {
        await api.DELETE("/api/auth/tokens/{tokenId}", { params: { path: { tokenId } } });
      } catch (error) {
        // It is gone already: that is what was wanted.
        if (!(error instanceof ApiError) || error.code !== "token_not_found") throw error;
      }
    },
    onSuccess: onDone,
    onSettled: () => client.invalidateQueries({ queryKey: keys.tokens }),
  });
}
