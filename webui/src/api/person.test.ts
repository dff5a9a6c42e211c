import { QueryClient } from "@tanstack/react-query";
import { expect, it } from "vitest";
import { forgetPerson } from "./person";
import { keys } from "./queries";

it("forgets what somebody saw and tried, and not what is under way", async () => {
  const client = new QueryClient();
  client.setQueryData(keys.workspaces, []);
  client.setQueryData(keys.registration, { possible: true, reason: null });
  const acts = client.getMutationCache();
  await acts
    .build(client, { mutationFn: () => Promise.reject(new Error("not allowed")) })
    .execute(undefined)
    .catch(() => undefined);
  const signingIn = acts.build(client, { mutationFn: () => new Promise(() => undefined) });
  void signingIn.execute(undefined);
  forgetPerson(client);
  expect(client.getQueryData(keys.workspaces)).toBeUndefined();
  expect(client.getQueryData(keys.registration)).toBeDefined();
  expect(acts.getAll()).toEqual([signingIn]);
});
