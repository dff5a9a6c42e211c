import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, Outlet, useParams } from "@tanstack/react-router";
import { useEffect, useRef } from "react";
import { ApiError } from "@/api/errors";
import { may } from "@/api/permissions";
import { keys, sandboxQuery, workspacesQuery } from "@/api/queries";
import type { Sandbox, Workspace } from "@/api/schema.gen";
import { NothingHere } from "@/pages/Failed";
import { Loaded } from "@/ui/Loaded";
import { Page } from "@/ui/Page";
import tabs from "@/ui/TabLinks.module.css";
import { Gone } from "./Gone";
import { HeaderActions } from "./HeaderActions";
import { type Here, HereProvider } from "./here";
import { Messages } from "./Messages";
import { Title } from "./Title";

/** The page of one sandbox. What is under its tabs knows it by `useHere`. */
export default function SandboxPage() {
  const { sandboxId } = useParams({ from: "/signed-in/sandboxes/$sandboxId" });
  return <Whole key={sandboxId} sandboxId={sandboxId} />;
}

function Whole({ sandboxId }: { sandboxId: string }) {
  const query = useQuery(sandboxQuery(sandboxId));
  const workspaces = useQuery(workspacesQuery).data;
  useAskAgain(query.data, workspaces);
  const last = useRef<Sandbox>(undefined);
  if (query.data !== undefined) last.current = query.data;
  if (query.error instanceof ApiError && query.error.status === 404) {
    return last.current === undefined ? <NothingHere what="sandbox" /> : <Gone sandbox={last.current} />;
  }
  return (
    <Loaded query={query} what="the sandbox" alone>
      {(sandbox) => (
        <Shown sandbox={sandbox} role={workspaces?.find((one) => one.id === sandbox.workspaceId)?.role} />
      )}
    </Loaded>
  );
}

/** Events tell of one's membership, and not of what one does not see for it: whether it is so is asked. */
function useAskAgain(sandbox: Sandbox | undefined, workspaces: readonly Workspace[] | undefined): void {
  const client = useQueryClient();
  const id = sandbox?.id;
  const apart = workspaces?.every((one) => one.id !== sandbox?.workspaceId) ?? false;
  useEffect(() => {
    if (id !== undefined && apart) void client.invalidateQueries({ queryKey: keys.sandbox(id) });
  }, [client, id, apart]);
}

function Shown(here: Here) {
  const { sandbox } = here;
  return (
    <HereProvider value={here}>
      <Page title={sandbox.name} heading={<Title {...here} />} actions={<HeaderActions {...here} />}>
        <Messages {...here} />
        <Tabs {...here} />
        <Outlet />
      </Page>
    </HereProvider>
  );
}

function Tabs({ sandbox, role }: Here) {
  const params = { sandboxId: sandbox.id };
  return (
    <nav className={tabs.tabs} aria-label="Sandbox">
      <Link to="/sandboxes/$sandboxId" params={params} activeOptions={{ exact: true }} className={tabs.tab}>
        Overview
      </Link>
      {may(role, "open_sandbox") && (
        <Link to="/sandboxes/$sandboxId/ports" params={params} className={tabs.tab}>
          Ports
        </Link>
      )}
      {may(role, "read_logs") && (
        <Link to="/sandboxes/$sandboxId/logs" params={params} className={tabs.tab}>
          Logs
        </Link>
      )}
      <Link to="/sandboxes/$sandboxId/usage" params={params} className={tabs.tab}>
        Usage
      </Link>
    </nav>
  );
}
