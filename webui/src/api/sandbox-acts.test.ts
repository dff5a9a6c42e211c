import { QueryClient } from "@tanstack/react-query";
import { expect, it } from "vitest";
import { ApiError, noAnswer } from "./errors";
import { forgetUnanswered } from "./sandbox-acts";

it("forgets what got no answer once the server is back, and nothing else", async () => {
  const client = new QueryClient({ defaultOptions: { mutations: { retry: false } } });
  const acts = client.getMutationCache();
  const fail = (key: string, error: Error) =>
    acts
      .build(client, { mutationKey: [key], mutationFn: () => Promise.reject(error) })
      .execute(undefined)
      .catch(() => undefined);
  await fail("sandbox-act", noAnswer("POST"));
  await fail("sandbox-act", new ApiError(409, "wrong_status", "It is paused."));
  await fail("another", noAnswer("POST"));
  forgetUnanswered(client);
  expect(acts.getAll().map(({ options, state }) => [options.mutationKey?.[0], state.error?.message])).toEqual(
    [
      ["sandbox-act", "It is paused."],
      ["another", noAnswer("POST").message],
    ],
  );
});
