import { useMutation, useQueryClient } from "@tanstack/react-query";
import { api, dataOf } from "./client";
import { ApiError } from "./errors";
import { keys } from "./queries";
import type { SignInStart } from "./schema.gen";

/** Go to a provider's page, with what must be in no address of ours. This page ends with it. */
export async function startSignIn(provider: string, body: SignInStart): Promise<void> {
  const { location: there } = await dataOf(
    api.POST("/api/auth/oidc/{provider}/start", { params: { path: { provider } }, body }),
  );
  location.assign(there);
}

/** Link an account of a provider to mine, by signing in there. */
export function useLink(next: string) {
  return useMutation({
    mutationFn: (provider: string) => startSignIn(provider, { next, link: true, invitation: null }),
  });
}

export function useUnlink(identityId: string, onDone: () => void) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: async () => {
      try {
        await api.DELETE("/api/auth/identities/{identityId}", { params: { path: { identityId } } });
      } catch (error) {
        // It went meanwhile: that is what was wanted.
        if (!(error instanceof ApiError) || error.code !== "identity_not_found") throw error;
      }
    },
    onSuccess: onDone,
    onSettled: () => client.invalidateQueries({ queryKey: keys.identities }),
  });
}
