import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { sessionsQuery } from "@/api/queries";
import { useEndSessions } from "@/api/session-acts";
import { Button } from "@/ui/Button";
import { Confirm } from "@/ui/Confirm";
import { Loaded } from "@/ui/Loaded";
import styles from "./Account.module.css";
import { AccountPage } from "./AccountPage";
import { SessionRow } from "./SessionRow";

export default function Sessions() {
  const query = useQuery(sessionsQuery);
  const others = query.data?.filter((session) => !session.current) ?? [];
  const [asked, setAsked] = useState(false);
  return (
    <AccountPage
      title="Where you are signed in"
      actions={others.length > 0 && <Button onClick={() => setAsked(true)}>Sign out all others</Button>}
    >
      <p className="quiet">
        Each browser and program that is signed in as you. What you sign out is cut off at once, here and on
        every sandbox; sandboxes go on with their work.
      </p>
      <Loaded query={query} what="your sessions">
        {(sessions) => (
          <ul className={styles.list}>
            {sessions.map((session) => (
              <SessionRow key={session.id} session={session} />
            ))}
          </ul>
        )}
      </Loaded>
      {asked && <SignOutOthers ids={others.map((session) => session.id)} onClose={() => setAsked(false)} />}
    </AccountPage>
  );
}

function SignOutOthers({ ids, onClose }: { ids: readonly string[]; onClose: () => void }) {
  const end = useEndSessions();
  return (
    <Confirm
      title="Sign out all others"
      verb="Sign out all others"
      pending={end.isPending}
      error={end.error}
      onConfirm={() => end.mutate(ids, { onSuccess: onClose })}
      onClose={onClose}
    >
      {ids.length === 1 ? "The other one has" : `The ${ids.length} others have`} to sign in again. This
      browser stays signed in.
    </Confirm>
  );
}
