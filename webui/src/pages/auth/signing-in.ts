import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useRouter } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { ApiError } from "@/api/errors";
import { forgetPerson } from "@/api/person";
import { keys, meQuery } from "@/api/queries";
import { isServerPath, safeNext } from "@/lib/next";
import { liveState, restartLive } from "@/live/live";
import { closeAll } from "@/ui/Toasts";

/**
 * Leads whoever is signed in to where they were going: here, in another tab, or before they came. Until it is known,
 * `asking` is true; a server that is away does not keep the form from being shown. Where there is something to read
 * first (`stay`), who was signed in before they came is not led on.
 */
export function useLedOn(next: string | undefined, stay = false) {
  const client = useQueryClient();
  const { history } = useRouter();
  const me = useQuery({ ...meQuery, refetchOnMount: "always" });
  const signedIn = me.isSuccess && me.isFetchedAfterMount;
  const refused = me.error instanceof ApiError && me.error.status === 401;
  useEffect(() => {
    if (!refused) return;
    forgetPerson(client);
    closeAll();
  }, [refused, client]);
  const [wasOut, setWasOut] = useState(false);
  useEffect(() => {
    if (me.isError) setWasOut(true);
  }, [me.isError]);
  const going = signedIn && (!stay || wasOut);
  useEffect(() => {
    if (!going) return;
    // Another tab signed in, in a browser where each has a stream of its own.
    if (liveState.value.kind === "signed-out") restartLive();
    const path = safeNext(next);
    if (isServerPath(path)) location.assign(path);
    else history.replace(path);
  }, [going, next, history]);
  return { asking: !me.isFetchedAfterMount && me.failureCount === 0, signedIn, going, me: me.data };
}

/** Send a form that signs somebody in. What was shown to anybody else is forgotten before it is known who it is now. */
export function useSignIn(send: () => Promise<unknown>) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: async () => {
      await send();
      // An answer that is under way is about whoever was signed in before.
      await client.cancelQueries({ queryKey: keys.me });
      forgetPerson(client);
      restartLive();
      await client.fetchQuery({ ...meQuery, staleTime: 0 });
    },
  });
}
