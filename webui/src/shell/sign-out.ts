import { type QueryClient, useMutation, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { api } from "@/api/client";
import { ApiError, wordsOf } from "@/api/errors";
import { forgetPerson } from "@/api/person";
import { sessionsQuery } from "@/api/queries";
import { closeDialog } from "@/dialogs/dialogs";
import { Store } from "@/lib/store";
import { notify } from "@/ui/Toasts";

/** Whether this tab is signing out: that the session ends is no news to it then. */
export const signingOut = new Store(false);

/** Sign out: the session ends on the server, with what is open of it in every tab. One may say where to go `next`. */
export function useSignOut(next?: string) {
  const client = useQueryClient();
  const navigate = useNavigate();
  return useMutation({
    mutationFn: async () => {
      signingOut.set(true);
      const left = await providerOf(client);
      try {
        await api.POST("/api/auth/logout");
      } catch (error) {
        // It had ended already.
        if (!(error instanceof ApiError) || error.status !== 401) throw error;
      }
      return left;
    },
    onSuccess: async (left) => {
      closeDialog();
      const search = { ...(next !== undefined && { next }), ...(left !== undefined && { left }) };
      await navigate({ to: "/login", search });
      forgetPerson(client);
    },
    onError: (error) => notify(`Signing out failed. ${wordsOf(error)}`, "bad"),
    onSettled: () => signingOut.set(false),
  });
}

/** GitHub has no place where another site can send somebody to sign out. */
const SIGNS_OUT = "oidc";

/** The provider that this session came from, if one can be signed out there. */
async function providerOf(client: QueryClient): Promise<string | undefined> {
  try {
    const sessions = await client.fetchQuery({ ...sessionsQuery, retry: false });
    return sessions.find(({ current }) => current)?.provider === SIGNS_OUT ? SIGNS_OUT : undefined;
  } catch {
    return undefined; // that is no reason to stay signed in
  }
}
