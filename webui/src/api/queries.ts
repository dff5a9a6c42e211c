import { queryOptions } from "@tanstack/react-query";
import { api, dataOf } from "./client";

// Every query has its key here, so that events (live/apply.ts) and pages mean the same.

/** What an event does not tell (last activity, usage) is asked again so often while somebody looks. */
const LOOK_AGAIN = 30_000;

export const keys = {
  me: ["me"],
  workspaces: ["workspaces"],
  members: (workspaceId: string) => ["members", workspaceId],
  sandboxes: (workspaceId: string) => ["sandboxes", workspaceId],
  sandbox: (id: string) => ["sandbox", id],
  sessions: ["sessions"],
  providers: ["providers"],
} as const;

export const meQuery = queryOptions({
  queryKey: keys.me,
  queryFn: ({ signal }) => dataOf(api.GET("/api/auth/me", { signal })),
});

export const providersQuery = queryOptions({
  queryKey: keys.providers,
  queryFn: ({ signal }) => dataOf(api.GET("/api/auth/oidc/providers", { signal })),
});

export const sessionsQuery = queryOptions({
  queryKey: keys.sessions,
  queryFn: ({ signal }) => dataOf(api.GET("/api/auth/sessions", { signal })),
});

export const workspacesQuery = queryOptions({
  queryKey: keys.workspaces,
  queryFn: ({ signal }) => dataOf(api.GET("/api/workspaces", { signal })),
});

export const membersQuery = (workspaceId: string) =>
  queryOptions({
    queryKey: keys.members(workspaceId),
    queryFn: ({ signal }) =>
      dataOf(api.GET("/api/workspaces/{workspaceId}/members", { params: { path: { workspaceId } }, signal })),
  });

export const sandboxesQuery = (workspaceId: string) =>
  queryOptions({
    queryKey: keys.sandboxes(workspaceId),
    queryFn: ({ signal }) =>
      dataOf(
        api.GET("/api/workspaces/{workspaceId}/sandboxes", { params: { path: { workspaceId } }, signal }),
      ),
    refetchInterval: LOOK_AGAIN,
  });

export const sandboxQuery = (sandboxId: string) =>
  queryOptions({
    queryKey: keys.sandbox(sandboxId),
    queryFn: ({ signal }) =>
      dataOf(api.GET("/api/sandboxes/{sandboxId}", { params: { path: { sandboxId } }, signal })),
    refetchInterval: LOOK_AGAIN,
  });
