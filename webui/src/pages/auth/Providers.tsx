import { useQuery } from "@tanstack/react-query";
import { providersQuery } from "@/api/queries";
import { safeNext } from "@/lib/next";
import { buttonClass } from "@/ui/Button";
import styles from "./Entry.module.css";

/** The ways to sign in with somebody else's account. */
export function Providers({ next }: { next: string | undefined }) {
  const providers = useQuery(providersQuery).data?.providers ?? [];
  if (providers.length === 0) return null;
  const query = `?next=${encodeURIComponent(safeNext(next))}`;
  return (
    <>
      <div className={styles.or}>or</div>
      <div className={styles.providers}>
        {providers.map(({ id, name }) => (
          <a
            key={id}
            className={buttonClass()}
            href={`/api/auth/oidc/${encodeURIComponent(id)}/login${query}`}
          >
            Sign in with {name}
          </a>
        ))}
      </div>
    </>
  );
}
