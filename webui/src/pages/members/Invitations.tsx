import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { rolesToGive } from "@/api/permissions";
import { invitationsQuery } from "@/api/queries";
import type { Invitation, Workspace } from "@/api/schema.gen";
import { Button } from "@/ui/Button";
import { type Column, DataTable } from "@/ui/DataTable";
import { Left } from "@/ui/Left";
import { Loaded } from "@/ui/Loaded";
import { Section } from "@/ui/Page";
import { roleName } from "./role-words";
import { WithdrawDialog } from "./WithdrawDialog";

/** The links that somebody can still join by. Where there are none, nothing is said. */
export function Invitations({ workspace }: { workspace: Workspace }) {
  const query = useQuery(invitationsQuery(workspace.id));
  const [going, setGoing] = useState<Invitation>();
  const mine = rolesToGive(workspace.role);
  const columns: Column<Invitation>[] = [
    { title: "Role", kind: "main", cell: ({ role }) => roleName(role) },
    { title: "By", kind: "text", cell: ({ createdBy }) => createdBy.username },
    { title: "Uses left", kind: "number", cell: ({ usesLeft }) => usesLeft },
    { title: "Expires", kind: "short", cell: ({ expiresAt }) => <Left until={expiresAt} /> },
    {
      title: "What can be done",
      kind: "actions",
      cell: (invitation) =>
        mine.includes(invitation.role) && (
          <Button
            size="small"
            aria-label={`Withdraw the invitation as ${invitation.role} by ${invitation.createdBy.username}`}
            onClick={() => setGoing(invitation)}
          >
            Withdraw
          </Button>
        ),
    },
  ];
  if (query.data?.length === 0 && going === undefined) return null;
  return (
    <Section title="Open invitations">
      <Loaded query={query} what="the open invitations">
        {(invitations) => (
          <DataTable
            label="Open invitations"
            columns={columns}
            rows={invitations}
            rowKey={(invitation) => invitation.id}
          />
        )}
      </Loaded>
      {going && (
        <WithdrawDialog workspaceId={workspace.id} invitation={going} onClose={() => setGoing(undefined)} />
      )}
    </Section>
  );
}
