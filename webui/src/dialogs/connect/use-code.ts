import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef } from "react";
import { api } from "@/api/client";
import { sandboxesQuery } from "@/api/queries";
import { lifetimeMs } from "./code-time";

export interface Code {
  code: string;
  /** By this browser's clock, in milliseconds since 1970. */
  expiresAt: number;
  lifetime: number;
  /** The sandboxes that were there before the first code: others came by one of ours. */
  known: ReadonlySet<string>;
  /** Those that were there before this code. */
  before: ReadonlySet<string>;
}

export interface CodeState {
  code: Code | null;
  pending: boolean;
  error: Error | null;
  renew: () => void;
}

/** A code of one's own for this dialog, made when it opens. */
export function useCode(workspaceId: string): CodeState {
  const client = useQueryClient();
  const known = useRef<ReadonlySet<string>>(undefined);
  const last = useRef<Code | null>(null);
  const make = useMutation({
    mutationFn: async () => {
      const list = await client.fetchQuery({ ...sandboxesQuery(workspaceId), staleTime: 0 });
      const before = new Set(list.map(({ id }) => id));
      known.current ??= before;
      const path = { workspaceId };
      const { data, response } = await api.POST("/api/workspaces/{workspaceId}/agent-code", {
        params: { path },
      });
      if (data === undefined) throw new Error("an answer without a code");
      const lifetime = lifetimeMs(data.expiresAt, response.headers.get("Date"), Date.now());
      const expiresAt = Date.now() + lifetime;
      last.current = { code: data.code, expiresAt, lifetime, known: known.current, before };
      return last.current;
    },
  });
  const begun = useRef(false);
  const { mutate } = make;
  useEffect(() => {
    if (begun.current) return;
    begun.current = true;
    mutate();
  }, [mutate]);
  return {
    code: last.current,
    pending: make.isPending,
    error: make.error,
    renew: () => mutate(),
  };
}
