import { infiniteQueryOptions, keepPreviousData, queryOptions } from "@tanstack/react-query";
import { api, dataOf } from "./client";

// Every query has its key here, so that events (live/apply.ts) and pages mean the same.

/** What an event does not tell (last activity, usage) is asked again so often while somebody looks. */
const LOOK_AGAIN = 30_000;

/** Of what the usage is. */
export type UsageOf = { workspaceId: string } | { sandboxId: string };

/** Of which entries of the audit log. */
export interface AuditFilter {
  action?: string;
  actor?: string;
  outcome?: string;
}

export const keys = {
  me: ["me"],
  workspaces: ["workspaces"],
  members: (workspaceId: string) => ["members", workspaceId],
  sandboxes: (workspaceId: string) => ["sandboxes", workspaceId],
  sandbox: (id: string) => ["sandbox", id],
  activity: (workspaceId: string) => ["activity", workspaceId],
  sessions: ["sessions"],
  identities: ["identities"],
  tokens: ["tokens"],
  invitations: (workspaceId: string) => ["invitations", workspaceId],
  invitation: (token: string) => ["invitation", token],
  providers: ["providers"],
  registration: ["registration"],
  contents: (workspaceId: string) => ["contents", workspaceId],
  server: ["server"],
  ports: (sandboxId: string) => ["ports", sandboxId],
  usage: (of: UsageOf, from: string, to: string) => ["usage", of, from, to],
  // Whatever changes on this server makes all of these old (live/apply.ts).
  adminUsers: ["admin", "users"],
  adminWorkspaces: ["admin", "workspaces"],
  adminSandboxes: ["admin", "sandboxes"],
  audit: (filter: AuditFilter) => ["admin", "audit", filter],
  workspaceAudit: (workspaceId: string, filter: AuditFilter) => ["workspace-audit", workspaceId, filter],
} as const;

export const meQuery = queryOptions({
  queryKey: keys.me,
  queryFn: ({ signal }) => dataOf(api.GET("/api/auth/me", { signal })),
});

export const providersQuery = queryOptions({
  queryKey: keys.providers,
  queryFn: ({ signal }) => dataOf(api.GET("/api/auth/oidc/providers", { signal })),
});

/** Whether one can register here, and why not. */
export const registrationQuery = queryOptions({
  queryKey: keys.registration,
  queryFn: ({ signal }) => dataOf(api.GET("/api/auth/registration", { signal })),
  // No event tells of it, and the first one who registers changes it.
  staleTime: 0,
});

export const sessionsQuery = queryOptions({
  queryKey: keys.sessions,
  queryFn: ({ signal }) => dataOf(api.GET("/api/auth/sessions", { signal })),
  refetchInterval: LOOK_AGAIN,
});

/** The accounts at providers that I can sign in with. */
export const identitiesQuery = queryOptions({
  queryKey: keys.identities,
  queryFn: ({ signal }) => dataOf(api.GET("/api/auth/identities", { signal })),
});

export const tokensQuery = queryOptions({
  queryKey: keys.tokens,
  queryFn: ({ signal }) => dataOf(api.GET("/api/auth/tokens", { signal })),
  refetchInterval: LOOK_AGAIN,
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

/** The links that still let somebody join. */
export const invitationsQuery = (workspaceId: string) =>
  queryOptions({
    queryKey: keys.invitations(workspaceId),
    queryFn: ({ signal }) =>
      dataOf(
        api.GET("/api/workspaces/{workspaceId}/invitations", { params: { path: { workspaceId } }, signal }),
      ),
    refetchInterval: LOOK_AGAIN,
  });

/** What an invitation is to, for whoever holds its token. */
export const invitationQuery = (token: string) =>
  queryOptions({
    queryKey: keys.invitation(token),
    queryFn: ({ signal }) => dataOf(api.POST("/api/invitations/look", { body: { token }, signal })),
    // It may have been used up since, and the token is kept no longer than the page.
    staleTime: 0,
    gcTime: 0,
  });

/** What goes with a workspace when it is deleted. */
export const contentsQuery = (workspaceId: string) =>
  queryOptions({
    queryKey: keys.contents(workspaceId),
    queryFn: ({ signal }) =>
      dataOf(
        api.GET("/api/workspaces/{workspaceId}/contents", { params: { path: { workspaceId } }, signal }),
      ),
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

/** A bar of the sparkline is an hour; that it grows is worth a look each minute. */
const ACTIVITY_AGAIN = 60_000;

export const activityQuery = (workspaceId: string) =>
  queryOptions({
    queryKey: keys.activity(workspaceId),
    queryFn: ({ signal }) =>
      dataOf(
        api.GET("/api/workspaces/{workspaceId}/activity", { params: { path: { workspaceId } }, signal }),
      ),
    refetchInterval: ACTIVITY_AGAIN,
  });

export const serverQuery = queryOptions({
  queryKey: keys.server,
  queryFn: ({ signal }) => dataOf(api.GET("/api/server", { signal })),
});

/** Usage in a period, which stays with the numbers: another one may be chosen while these are still shown. */
export const usageQuery = (of: UsageOf, from: string, to: string) =>
  queryOptions({
    queryKey: keys.usage(of, from, to),
    queryFn: async ({ signal }) => {
      const period = { from, to };
      const { days } = await dataOf(
        "workspaceId" in of
          ? api.GET("/api/workspaces/{workspaceId}/usage", {
              params: { path: of, query: { ...period, by: "sandbox" } },
              signal,
            })
          : api.GET("/api/sandboxes/{sandboxId}/usage", { params: { path: of, query: period }, signal }),
      );
      return { period, days };
    },
    placeholderData: keepPreviousData,
    refetchInterval: LOOK_AGAIN,
  });

export const adminUsersQuery = queryOptions({
  queryKey: keys.adminUsers,
  queryFn: ({ signal }) => dataOf(api.GET("/api/admin/users", { signal })),
  refetchInterval: LOOK_AGAIN,
});

export const adminWorkspacesQuery = queryOptions({
  queryKey: keys.adminWorkspaces,
  queryFn: ({ signal }) => dataOf(api.GET("/api/admin/workspaces", { signal })),
});

export const adminSandboxesQuery = queryOptions({
  queryKey: keys.adminSandboxes,
  queryFn: ({ signal }) => dataOf(api.GET("/api/admin/sandboxes", { signal })),
  refetchInterval: LOOK_AGAIN,
});

export const auditQuery = (filter: AuditFilter) =>
  infiniteQueryOptions({
    queryKey: keys.audit(filter),
    queryFn: ({ signal, pageParam }) => {
      const query = { ...filter, ...(pageParam !== null && { before: String(pageParam) }) };
      return dataOf(api.GET("/api/admin/audit", { params: { query }, signal }));
    },
    initialPageParam: null as number | null,
    getNextPageParam: (page) => page.next,
    // Not while somebody reads far back: all that was loaded would be loaded anew.
    refetchInterval: (query) => ((query.state.data?.pages.length ?? 0) > 1 ? false : LOOK_AGAIN),
  });

/** What happened in one workspace, for its owners. */
export const workspaceAuditQuery = (workspaceId: string, filter: AuditFilter) =>
  infiniteQueryOptions({
    queryKey: keys.workspaceAudit(workspaceId, filter),
    queryFn: ({ signal, pageParam }) => {
      const query = { ...filter, ...(pageParam !== null && { before: String(pageParam) }) };
      const params = { path: { workspaceId }, query };
      return dataOf(api.GET("/api/workspaces/{workspaceId}/audit", { params, signal }));
    },
    initialPageParam: null as number | null,
    getNextPageParam: (page) => page.next,
    refetchInterval: (query) => ((query.state.data?.pages.length ?? 0) > 1 ? false : LOOK_AGAIN),
  });

/** Somebody who starts a web server looks for it here at once. */
const PORTS_AGAIN = 5000;

export const portsQuery = (sandboxId: string) =>
  queryOptions({
    queryKey: keys.ports(sandboxId),
    queryFn: ({ signal }) =>
      dataOf(api.GET("/api/sandboxes/{sandboxId}/ports", { params: { path: { sandboxId } }, signal })),
    refetchInterval: PORTS_AGAIN,
    staleTime: 0,
  });
