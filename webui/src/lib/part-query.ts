import { queryOptions } from "@tanstack/react-query";
import { part, reloadIfGone } from "./parts";

/** A part of a page as a query: where it does not come, the rest of the page stays, and it can be asked for again. */
export function partQuery<T>(name: string, load: () => Promise<T>) {
  return queryOptions({
    queryKey: ["part", name],
    queryFn: async () => {
      try {
        return await part(load);
      } catch (error) {
        reloadIfGone(error);
        throw error;
      }
    },
    // It is what it is, until the page is loaded anew.
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: Number.POSITIVE_INFINITY,
    structuralSharing: false,
  });
}
