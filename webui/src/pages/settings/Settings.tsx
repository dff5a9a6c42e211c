import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { may } from "@/api/permissions";
import { meQuery } from "@/api/queries";
import type { Workspace } from "@/api/schema.gen";
import { openDialog } from "@/dialogs/dialogs";
import { LeaveDialog } from "@/pages/members/LeaveDialog";
import { ROLE_WORDS, roleName } from "@/pages/members/role-words";
import { useWorkspace } from "@/shell/workspace";
import { Ago } from "@/ui/Ago";
import { Button, buttonClass } from "@/ui/Button";
import { CopyText } from "@/ui/Copy";
import { Card, Page, Section } from "@/ui/Page";
import { RenameWorkspace } from "./RenameWorkspace";
import styles from "./Settings.module.css";

export default function Settings() {
  const workspace = useWorkspace();
  return (
    <Page title="Settings" windowTitle={workspace && `Settings · ${workspace.name}`} narrow>
      {workspace && (
        <>
          <Section title="Workspace">
            <Card>
              {may(workspace.role, "rename_workspace") && (
                <RenameWorkspace key={workspace.id} workspace={workspace} />
              )}
              <Facts workspace={workspace} />
            </Card>
          </Section>
          {may(workspace.role, "read_audit") && <Audit workspace={workspace} />}
          <Leave workspace={workspace} />
          {may(workspace.role, "delete_workspace") && <Delete workspace={workspace} />}
        </>
      )}
    </Page>
  );
}

function Facts({ workspace }: { workspace: Workspace }) {
  return (
    <dl className={styles.facts}>
      {!may(workspace.role, "rename_workspace") && (
        <>
          <dt>Name</dt>
          <dd>{workspace.name}</dd>
        </>
      )}
      <dt>Id</dt>
      <dd>
        <CopyText text={workspace.id} what="Copy the id" />
      </dd>
      <dt>Created</dt>
      <dd>
        <Ago time={workspace.createdAt} />
      </dd>
      <dt>Your role</dt>
      <dd>
        {roleName(workspace.role)} <span className="quiet">{ROLE_WORDS[workspace.role]}</span>
      </dd>
    </dl>
  );
}

function Audit({ workspace }: { workspace: Workspace }) {
  return (
    <Section title="Audit log">
      <Card>
        <div className={styles.act}>
          <p>Who did what in the workspace, when and from where, and what was refused. Only owners see it.</p>
          <Link
            to="/w/$workspaceId/settings/audit"
            params={{ workspaceId: workspace.id }}
            className={buttonClass()}
          >
            Open the audit log
          </Link>
        </div>
      </Card>
    </Section>
  );
}

function Leave({ workspace }: { workspace: Workspace }) {
  const [asked, setAsked] = useState(false);
  const me = useQuery(meQuery).data;
  return (
    <Section title="Leave">
      <Card>
        <div className={styles.act}>
          <p>
            You lose access to the workspace. Its sandboxes, those that you made too, stay with its members.
          </p>
          <Button onClick={() => setAsked(true)}>Leave the workspace</Button>
        </div>
        {asked && me && <LeaveDialog workspace={workspace} userId={me.id} onClose={() => setAsked(false)} />}
      </Card>
    </Section>
  );
}

function Delete({ workspace }: { workspace: Workspace }) {
  return (
    <Section title="Delete">
      <Card>
        <div className={styles.act}>
          <p>Its sandboxes and its disk are deleted for all members. The next step shows how much that is.</p>
          <Button kind="danger" onClick={() => openDialog({ kind: "delete-workspace", workspace })}>
            Delete the workspace
          </Button>
        </div>
      </Card>
    </Section>
  );
}
