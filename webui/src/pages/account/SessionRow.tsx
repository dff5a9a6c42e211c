import { wordsOf } from "@/api/errors";
import type { Session } from "@/api/schema.gen";
import { useEndSessions } from "@/api/session-acts";
import { browserInWords } from "@/lib/user-agent";
import { useSignOut } from "@/shell/sign-out";
import { Ago } from "@/ui/Ago";
import { Badge } from "@/ui/Badge";
import { Button } from "@/ui/Button";
import styles from "./Account.module.css";

export function SessionRow({ session }: { session: Session }) {
  const end = useEndSessions();
  const signOut = useSignOut();
  const browser = browserInWords(session.userAgent);
  return (
    <li className={styles.item}>
      <div className={styles.what}>
        <div className={styles.name}>
          <span title={session.userAgent}>{browser}</span>
          {session.current && <Badge tone="accent">this one</Badge>}
        </div>
        <div className={styles.facts}>
          <span className="mono">{session.ip}</span>
          <span>
            last used <Ago time={session.lastSeenAt} />
          </span>
          <span>
            signed in <Ago time={session.createdAt} />
          </span>
        </div>
      </div>
      <Button
        size="small"
        aria-label={session.current ? "Sign out here" : `Sign out ${browser}, ${session.ip}`}
        pending={end.isPending || signOut.isPending}
        onClick={() => (session.current ? signOut.mutate() : end.mutate([session.id]))}
      >
        Sign out
      </Button>
      {end.error && (
        <p className={styles.error} role="alert">
          {wordsOf(end.error)}
        </p>
      )}
    </li>
  );
}
