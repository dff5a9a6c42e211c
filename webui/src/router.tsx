import type { QueryClient } from "@tanstack/react-query";
import {
  createRootRouteWithContext,
  createRoute,
  createRouter,
  lazyRouteComponent,
  Outlet,
  redirect,
} from "@tanstack/react-router";
import type { ReactNode } from "react";
import { ApiError } from "./api/errors";
import { meQuery } from "./api/queries";
import { keepInvitation } from "./lib/invitation";
import { part } from "./lib/parts";
import { auditSearch, listSearch } from "./pages/admin/search";
import { Failed, NothingHere } from "./pages/Failed";
import { usageSearch } from "./pages/usage/period";
import { WorkspaceLayout } from "./pages/WorkspaceLayout";
import { Shell } from "./shell/Shell";
import { LoadingPage } from "./ui/Loaded";

interface Context {
  client: QueryClient;
}

/** The component of a page, loaded when somebody goes there. */
function page(load: () => Promise<{ default: () => ReactNode }>) {
  return lazyRouteComponent(() => part(load));
}

const root = createRootRouteWithContext<Context>()({
  component: Outlet,
  notFoundComponent: () => <NothingHere />,
});

export interface SignInSearch {
  /** Where one was going. */
  next?: string;
  /** The session ended while the page was open. */
  ended?: boolean;
  /** Why a provider's sign-in came to nothing: a word of the server's. */
  error?: string;
  /** After signing out: a provider at which one may still be signed in. */
  left?: string;
}

function signInSearch(search: Record<string, unknown>): SignInSearch {
  return {
    ...(typeof search.next === "string" && { next: search.next }),
    ...(search.ended === true && { ended: true }),
    ...(typeof search.error === "string" && { error: search.error }),
    ...(typeof search.left === "string" && { left: search.left }),
  };
}

const login = createRoute({
  getParentRoute: () => root,
  path: "/login",
  validateSearch: signInSearch,
  component: page(() => import("./pages/auth/Login")),
});

const register = createRoute({
  getParentRoute: () => root,
  path: "/register",
  validateSearch: signInSearch,
  component: page(() => import("./pages/auth/Register")),
});

export interface InviteSearch {
  /** The invitation was used, at a provider. */
  joined?: boolean;
}

const invite = createRoute({
  getParentRoute: () => root,
  path: "/invite",
  validateSearch: (search: Record<string, unknown>): InviteSearch =>
    search.joined === true ? { joined: true } : {},
  beforeLoad: ({ location }) => {
    if (location.hash === "") return;
    // Out of the address bar before anything is shown, so that no picture of the window and no other page has it.
    keepInvitation(location.hash);
    throw redirect({ to: "/invite", replace: true });
  },
  component: page(() => import("./pages/invite/Invite")),
});

const signedIn = createRoute({
  getParentRoute: () => root,
  id: "signed-in",
  component: Shell,
  beforeLoad: async ({ context, location }) => {
    const { client } = context;
    const last = client.getQueryState(meQuery.queryKey)?.error;
    try {
      // What was known of a session that is refused since then is worth nothing.
      if (last instanceof ApiError && last.status === 401) await client.fetchQuery(meQuery);
      else await client.ensureQueryData(meQuery);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 401) throw error;
      throw redirect({ to: "/login", search: location.href === "/" ? {} : { next: location.href } });
    }
  },
});

const home = createRoute({
  getParentRoute: () => signedIn,
  path: "/",
  component: page(() => import("./pages/Home")),
});

const workspace = createRoute({
  getParentRoute: () => signedIn,
  path: "/w/$workspaceId",
  component: WorkspaceLayout,
});

const workspaceHome = createRoute({
  getParentRoute: () => workspace,
  path: "/",
  beforeLoad: ({ params }) => {
    throw redirect({ to: "/w/$workspaceId/sandboxes", params, replace: true });
  },
});

const sandboxes = createRoute({
  getParentRoute: () => workspace,
  path: "/sandboxes",
  component: page(() => import("./pages/sandboxes/Sandboxes")),
});

const usage = createRoute({
  getParentRoute: () => workspace,
  path: "/usage",
  validateSearch: usageSearch,
  component: page(() => import("./pages/usage/WorkspaceUsage")),
});

const members = createRoute({
  getParentRoute: () => workspace,
  path: "/members",
  component: page(() => import("./pages/members/Members")),
});

const settings = createRoute({
  getParentRoute: () => workspace,
  path: "/settings",
  component: page(() => import("./pages/settings/Settings")),
});

const workspaceAudit = createRoute({
  getParentRoute: () => workspace,
  path: "/settings/audit",
  validateSearch: auditSearch,
  component: page(() => import("./pages/settings/WorkspaceAudit")),
});

const sandbox = createRoute({
  getParentRoute: () => signedIn,
  path: "/sandboxes/$sandboxId",
  component: page(() => import("./pages/sandbox/SandboxPage")),
});

const overview = createRoute({
  getParentRoute: () => sandbox,
  path: "/",
  component: page(() => import("./pages/sandbox/Overview")),
});

const ports = createRoute({
  getParentRoute: () => sandbox,
  path: "/ports",
  component: page(() => import("./pages/sandbox/Ports")),
});

const logs = createRoute({
  getParentRoute: () => sandbox,
  path: "/logs",
  component: page(() => import("./pages/sandbox/Logs")),
});

const sandboxUsage = createRoute({
  getParentRoute: () => sandbox,
  path: "/usage",
  validateSearch: usageSearch,
  component: page(() => import("./pages/sandbox/SandboxUsage")),
});

const sessions = createRoute({
  getParentRoute: () => signedIn,
  path: "/account/sessions",
  component: page(() => import("./pages/account/Sessions")),
});

const identities = createRoute({
  getParentRoute: () => signedIn,
  path: "/account/sign-in",
  component: page(() => import("./pages/account/Identities")),
});

const tokens = createRoute({
  getParentRoute: () => signedIn,
  path: "/account/tokens",
  component: page(() => import("./pages/account/Tokens")),
});

const adminUsers = createRoute({
  getParentRoute: () => signedIn,
  path: "/admin/users",
  validateSearch: listSearch,
  component: page(() => import("./pages/admin/Users")),
});

const adminWorkspaces = createRoute({
  getParentRoute: () => signedIn,
  path: "/admin/workspaces",
  validateSearch: listSearch,
  component: page(() => import("./pages/admin/Workspaces")),
});

const adminSandboxes = createRoute({
  getParentRoute: () => signedIn,
  path: "/admin/sandboxes",
  validateSearch: listSearch,
  component: page(() => import("./pages/admin/AdminSandboxes")),
});

const adminAudit = createRoute({
  getParentRoute: () => signedIn,
  path: "/admin/audit",
  validateSearch: auditSearch,
  component: page(() => import("./pages/admin/Audit")),
});

const tree = root.addChildren([
  login,
  register,
  invite,
  signedIn.addChildren([
    home,
    workspace.addChildren([workspaceHome, sandboxes, usage, members, settings, workspaceAudit]),
    sandbox.addChildren([overview, ports, logs, sandboxUsage]),
    sessions,
    identities,
    tokens,
    adminUsers,
    adminWorkspaces,
    adminSandboxes,
    adminAudit,
  ]),
]);

export function makeRouter(client: QueryClient) {
  return createRouter({
    routeTree: tree,
    context: { client },
    defaultErrorComponent: Failed,
    defaultPendingComponent: () => <LoadingPage what="the page" />,
    defaultNotFoundComponent: () => <NothingHere />,
    defaultPreload: "intent",
    // The queries know how old what they have is.
    defaultPreloadStaleTime: 0,
    scrollRestoration: true,
  });
}

declare module "@tanstack/react-router" {
  interface Register {
    router: ReturnType<typeof makeRouter>;
  }
}
