import { Link, useNavigate } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { ApiError, wordsOf } from "@/api/errors";
import { useAcceptInvitation } from "@/api/invitation-acts";
import type { Invited as InvitedTo, Me, Workspace } from "@/api/schema.gen";
import { useServerNow } from "@/lib/clock";
import { dropInvitation, INVITE_PAGE } from "@/lib/invitation";
import { exactTime, roughSpan } from "@/lib/time";
import { Entry } from "@/pages/auth/Entry";
import { ROLE_WORDS, roleName } from "@/pages/members/role-words";
import { useSignOut } from "@/shell/sign-out";
import { Button, buttonClass } from "@/ui/Button";
import { Notice } from "@/ui/Notice";
import { notify } from "@/ui/Toasts";
import styles from "./Invite.module.css";
import { Newcomer } from "./Newcomer";

export interface InvitedProps {
  token: string;
  invitation: InvitedTo;
  /** Who is signed in. */
  me: Me | undefined;
  /** Somebody registered with it. */
  used: boolean;
  onUsed: () => void;
}

/** An invitation that can be accepted: to what, and how. */
export function Invited({ token, invitation, me, used, onUsed }: InvitedProps) {
  const below = me ? undefined : (
    <>
      You have an account?{" "}
      <Link to="/login" search={{ next: INVITE_PAGE }}>
        Sign in
      </Link>
    </>
  );
  return (
    <Entry title={`Join “${invitation.workspaceName}”`} below={below}>
      <Terms invitation={invitation} />
      {me ? (
        <Join token={token} invitation={invitation} me={me} />
      ) : (
        <Newcomer token={token} done={used} onRegistered={onUsed} />
      )}
    </Entry>
  );
}

function Terms({ invitation }: { invitation: InvitedTo }) {
  const { invitedBy, role, expiresAt } = invitation;
  const end = Date.parse(expiresAt);
  return (
    <dl className={styles.terms}>
      <Fact name="Invited by">{invitedBy}</Fact>
      <Fact name="Role">
        {roleName(role)} <span className="quiet">{ROLE_WORDS[role]}</span>
      </Fact>
      <Fact name="Valid for">
        <time dateTime={expiresAt} title={exactTime(end)}>
          {roughSpan(end - useServerNow())}
        </time>
      </Fact>
    </dl>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

interface JoinProps {
  token: string;
  invitation: InvitedTo;
  me: Me;
}

function Join({ token, invitation, me }: JoinProps) {
  const navigate = useNavigate();
  const signOut = useSignOut(INVITE_PAGE);
  const accept = useAcceptInvitation(token, (workspace: Workspace) => {
    dropInvitation();
    notify(`You joined “${workspace.name}”.`);
    void navigate({
      to: "/w/$workspaceId/sandboxes",
      params: { workspaceId: workspace.id },
      replace: true,
    });
  });
  if (accept.error instanceof ApiError && accept.error.code === "already_member")
    return (
      <>
        <Notice>
          You are a member of “{invitation.workspaceName}” already. The invitation was not used up.
        </Notice>
        <Link to="/" className={buttonClass()}>
          To your workspaces
        </Link>
      </>
    );
  return (
    <>
      {accept.error && <Notice tone="bad">{wordsOf(accept.error)}</Notice>}
      <Button kind="primary" pending={accept.isPending || accept.isSuccess} onClick={() => accept.mutate()}>
        Join as {me.username}
      </Button>
      <Button kind="quiet" pending={signOut.isPending} onClick={() => signOut.mutate()}>
        Use another account
      </Button>
    </>
  );
}
