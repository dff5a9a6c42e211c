import { useMutation, useQuery } from "@tanstack/react-query";
import { wordsOf } from "@/api/errors";
import { startSignIn } from "@/api/identity-acts";
import { providersQuery } from "@/api/queries";
import type { Provider } from "@/api/schema.gen";
import { JOINED_PAGE } from "@/lib/invitation";
import { safeNext } from "@/lib/next";
import { Button, buttonClass } from "@/ui/Button";
import { Notice } from "@/ui/Notice";
import styles from "./Entry.module.css";

export interface ProvidersProps {
  next: string | undefined;
  /** The token to go in with, where there is an invitation. */
  invitation?: string | null;
}

/** The ways to sign in with somebody else's account. */
export function Providers({ next, invitation = null }: ProvidersProps) {
  const providers = useQuery(providersQuery).data?.providers ?? [];
  if (providers.length === 0) return null;
  return (
    <>
      <div className={styles.or}>or</div>
      {invitation === null ? (
        <div className={styles.providers}>
          {providers.map(({ id, name }) => (
            <a key={id} className={buttonClass()} href={loginAddress(id, next)}>
              Sign in with {name}
            </a>
          ))}
        </div>
      ) : (
        <WithInvitation providers={providers} invitation={invitation} />
      )}
    </>
  );
}

function loginAddress(id: string, next: string | undefined): string {
  return `/api/auth/oidc/${encodeURIComponent(id)}/login?next=${encodeURIComponent(safeNext(next))}`;
}

interface WithInvitationProps {
  providers: readonly Provider[];
  invitation: string;
}

/** Not by a link: its address would have the invitation in it. */
function WithInvitation({ providers, invitation }: WithInvitationProps) {
  const start = useMutation({
    mutationFn: (provider: string) => startSignIn(provider, { next: JOINED_PAGE, link: false, invitation }),
  });
  return (
    <div className={styles.providers}>
      {start.error && <Notice tone="bad">{wordsOf(start.error)}</Notice>}
      {providers.map(({ id, name }) => (
        <Button
          key={id}
          // The page stays for as long as the provider's takes to come.
          pending={start.variables === id && (start.isPending || start.isSuccess)}
          onClick={() => start.mutate(id)}
        >
          Sign in with {name}
        </Button>
      ))}
    </div>
  );
}
