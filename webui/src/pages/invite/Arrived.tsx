import { useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useEffect } from "react";
import { workspacesQuery } from "@/api/queries";
import { LoadingPage } from "@/ui/Loaded";

/** On to the workspace that somebody joined as they came in: the latest of that name, which is all that is known of it. */
export function Arrived({ workspaceName }: { workspaceName: string | undefined }) {
  const client = useQueryClient();
  const navigate = useNavigate();
  useEffect(() => {
    const lead = (workspaceId: string | undefined) =>
      workspaceId === undefined
        ? navigate({ to: "/", replace: true })
        : navigate({ to: "/w/$workspaceId/sandboxes", params: { workspaceId }, replace: true });
    client
      .fetchQuery({ ...workspacesQuery, staleTime: 0 })
      .then((list) => lead(list.findLast(({ name }) => name === workspaceName)?.id))
      // The first page tells what is wrong.
      .catch(() => lead(undefined));
  }, [client, navigate, workspaceName]);
  return <LoadingPage what="the workspace" />;
}
