import type { QueryClient } from "@tanstack/react-query";
import { keys } from "./queries";

/** What is the same for everybody, and who one is, which is always asked anew. */
const OF_NOBODY: readonly unknown[] = [keys.me[0], keys.providers[0], keys.registration[0]];

/** Forget what was shown to the person who was signed in, so that nobody else sees it. */
export function forgetPerson(client: QueryClient): void {
  client.removeQueries({ predicate: ({ queryKey }) => !OF_NOBODY.includes(queryKey[0]) });
  // What they tried, and could not do, is still shown beside what they tried it with.
  const acts = client.getMutationCache();
  for (const act of acts.getAll()) if (act.state.status !== "pending") acts.remove(act);
}
