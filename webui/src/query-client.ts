import { MutationCache, QueryCache, QueryClient } from "@tanstack/react-query";
import { ApiError } from "./api/errors";
import { keys } from "./api/queries";

/** An event brings what changes; what is older than that is asked again when somebody comes to look. */
const FRESH_MS = 60_000;

/** Once more for what may be over in a moment; what the server refused stays refused. */
function worthAnotherTry(failures: number, error: Error): boolean {
  return failures < 1 && error instanceof ApiError && (error.status === 0 || error.status >= 500);
}

export function makeQueryClient(): QueryClient {
  // A call that is refused for want of a session: who am I, still? The shell asks, and acts on the answer.
  const ask = (error: Error, about?: readonly unknown[]) => {
    const refused = error instanceof ApiError && error.status === 401;
    if (refused && about?.[0] !== keys.me[0]) void client.invalidateQueries({ queryKey: keys.me });
  };
  const client: QueryClient = new QueryClient({
    queryCache: new QueryCache({ onError: (error, query) => ask(error, query.queryKey) }),
    mutationCache: new MutationCache({ onError: (error) => ask(error) }),
    defaultOptions: {
      // The browser's word on being online is about some network, not about this server.
      queries: { staleTime: FRESH_MS, retry: worthAnotherTry, networkMode: "always" },
      mutations: { retry: false, networkMode: "always" },
    },
  });
  return client;
}
