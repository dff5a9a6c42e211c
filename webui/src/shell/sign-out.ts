import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { api } from "@/api/client";
import { ApiError, wordsOf } from "@/api/errors";
import { forgetPerson } from "@/api/person";
import { closeDialog } from "@/dialogs/dialogs";
import { Store } from "@/lib/store";
import { notify } from "@/ui/Toasts";

/** Whether this tab is signing out: that the session ends is no news to it then. */
export const signingOut = new Store(false);

/** Sign out: the session ends on the server, with what is open of it in every tab. */
export function useSignOut() {
  const client = useQueryClient();
  const navigate = useNavigate();
  return useMutation({
    mutationFn: async () => {
      signingOut.set(true);
      try {
        await api.POST("/api/auth/logout");
      } catch (error) {
        // It had ended already.
        if (!(error instanceof ApiError) || error.status !== 401) throw error;
      }
    },
    onSuccess: async () => {
      closeDialog();
      await navigate({ to: "/login" });
      forgetPerson(client);
    },
    onError: (error) => notify(`Signing out failed. ${wordsOf(error)}`, "bad"),
    onSettled: () => signingOut.set(false),
  });
}
