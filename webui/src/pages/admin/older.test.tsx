// @vitest-environment jsdom
import { QueryClient, QueryClientProvider, useInfiniteQuery } from "@tanstack/react-query";
import { act, renderHook, waitFor } from "@testing-library/react";
import type { ReactNode } from "react";
import { describe, expect, it } from "vitest";
import { useOlder } from "./older";

/** A list of three pages, whose answers the test gives. */
function open() {
  const client = new QueryClient({ defaultOptions: { queries: { retry: false } } });
  const answers: { page: number; give: (fail?: boolean) => void }[] = [];
  const queryFn = ({ pageParam }: { pageParam: number }) =>
    new Promise<number>((resolve, reject) =>
      answers.push({
        page: pageParam,
        give: (fail = false) => (fail ? reject(new Error("away")) : resolve(pageParam)),
      }),
    );
  const wrapper = ({ children }: { children: ReactNode }) => (
    <QueryClientProvider client={client}>{children}</QueryClientProvider>
  );
  const { result } = renderHook(
    () => {
      const query = useInfiniteQuery({
        queryKey: ["list"],
        queryFn,
        initialPageParam: 1,
        getNextPageParam: (page: number) => (page < 3 ? page + 1 : null),
      });
      return { query, older: useOlder(query, "list") };
    },
    { wrapper },
  );
  const answer = async (page: number, fail?: boolean) => {
    await waitFor(() => expect(answers.at(-1)?.page).toBe(page));
    await act(async () => answers.at(-1)?.give(fail));
  };
  return { client, result, answer, pages: () => result.current.query.data?.pages };
}

describe("the next page", () => {
  it("comes also when news makes the list load anew in the middle", async () => {
    const { client, result, answer, pages } = open();
    await answer(1);
    await waitFor(() => expect(pages()).toEqual([1]));
    act(() => result.current.older.load());
    await waitFor(() => expect(result.current.older.pending).toBe(true));
    act(() => void client.invalidateQueries({ queryKey: ["list"] }));
    await answer(1);
    await answer(2);
    await waitFor(() => expect(pages()).toEqual([1, 2]));
    expect(result.current.older.pending).toBe(false);
  });

  it("that fails is not asked for again until somebody does", async () => {
    const { result, answer, pages } = open();
    await answer(1);
    await waitFor(() => expect(pages()).toEqual([1]));
    act(() => result.current.older.load());
    await answer(2, true);
    await waitFor(() => expect(result.current.older.pending).toBe(false));
    expect(result.current.query.isFetching).toBe(false);
    act(() => result.current.older.load());
    await answer(2);
    await waitFor(() => expect(pages()).toEqual([1, 2]));
  });
});
