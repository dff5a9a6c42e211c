import type { InfiniteData, UseInfiniteQueryResult } from "@tanstack/react-query";
import { useEffect, useState } from "react";

/**
 * One page more, and that it is on its way. News that comes meanwhile makes the query load anew what it has, which
 * cancels the page that was asked for; so it is asked for again. `key`: of another list nothing was asked yet.
 */
export function useOlder(query: UseInfiniteQueryResult<InfiniteData<unknown>>, key: string) {
  const [asked, setAsked] = useState({ key, pages: 0 });
  const { hasNextPage, isFetching, isFetchNextPageError, fetchNextPage } = query;
  const pages = query.data?.pages.length ?? 0;
  const pending = asked.key === key && asked.pages > pages && hasNextPage && !isFetchNextPageError;
  useEffect(() => {
    if (pending && !isFetching) void fetchNextPage();
  }, [pending, isFetching, fetchNextPage]);
  const load = () => {
    setAsked({ key, pages: pages + 1 });
    void fetchNextPage();
  };
  return { pending, load };
}
