import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { may } from "@/api/permissions";
import { membersQuery, meQuery } from "@/api/queries";
import type { Member, Workspace } from "@/api/schema.gen";
import { useWorkspace } from "@/shell/workspace";
import { Button } from "@/ui/Button";
import { Loaded } from "@/ui/Loaded";
import { Card, Page, Section } from "@/ui/Page";
import table from "@/ui/Table.module.css";
import { AddMember } from "./AddMember";
import { Invitations } from "./Invitations";
import { InviteByLink } from "./InviteByLink";
import { LeaveDialog } from "./LeaveDialog";
import { MemberRow } from "./MemberRow";
import styles from "./Members.module.css";
import { RemoveDialog } from "./RemoveDialog";
import { ROLE_WORDS, ROLES, roleName } from "./role-words";

export default function Members() {
  const workspace = useWorkspace();
  const [inviting, setInviting] = useState(false);
  const mayInvite = workspace !== undefined && may(workspace.role, "add_member");
  return (
    <Page
      title="Members"
      windowTitle={workspace && `Members · ${workspace.name}`}
      narrow
      actions={mayInvite && <Button onClick={() => setInviting(true)}>Invite by link</Button>}
    >
      {mayInvite && (
        <Card>
          <AddMember workspace={workspace} />
        </Card>
      )}
      {workspace && <List workspace={workspace} />}
      {mayInvite && <Invitations workspace={workspace} />}
      {mayInvite && inviting && <InviteByLink workspace={workspace} onClose={() => setInviting(false)} />}
      <Section title="What the roles may do">
        <dl className={styles.roles}>
          {ROLES.map((role) => (
            <div key={role}>
              <dt>{roleName(role)}</dt>
              <dd>{ROLE_WORDS[role]}</dd>
            </div>
          ))}
        </dl>
      </Section>
    </Page>
  );
}

function List({ workspace }: { workspace: Workspace }) {
  const query = useQuery(membersQuery(workspace.id));
  const me = useQuery(meQuery).data;
  // Not the row's own: what takes the row away would take its dialog with it.
  const [going, setGoing] = useState<Member>();
  const stay = () => setGoing(undefined);
  return (
    <Loaded query={query} what="the members">
      {(members) => (
        <div className={table.framed}>
          <table className={`${table.table} ${styles.table}`} aria-label="Members">
            <thead>
              <tr>
                <th scope="col">User</th>
                <th scope="col">Role</th>
                <th scope="col">
                  <span className="off-screen">What can be done</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {members.map((member) => (
                <MemberRow
                  key={member.userId}
                  workspace={workspace}
                  member={member}
                  mine={member.userId === me?.id}
                  onGoing={() => setGoing(member)}
                />
              ))}
            </tbody>
          </table>
          {going &&
            (going.userId === me?.id ? (
              <LeaveDialog workspace={workspace} userId={going.userId} onClose={stay} />
            ) : (
              <RemoveDialog workspace={workspace} member={going} onClose={stay} />
            ))}
        </div>
      )}
    </Loaded>
  );
}
