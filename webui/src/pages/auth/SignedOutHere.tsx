import { useQuery } from "@tanstack/react-query";
import { providersQuery } from "@/api/queries";
import { buttonClass } from "@/ui/Button";
import { Notice } from "@/ui/Notice";

/** After signing out of a session that came from a provider, where one may still be signed in. */
export function SignedOutHere({ provider }: { provider: string }) {
  const name = useQuery(providersQuery).data?.providers.find(({ id }) => id === provider)?.name;
  if (name === undefined) return null;
  return (
    <Notice
      action={
        <a className={buttonClass()} href={`/api/auth/oidc/${encodeURIComponent(provider)}/logout`}>
          Sign out at {name}, too
        </a>
      }
    >
      You are signed out here. At {name} you may still be signed in, and whoever uses this browser next could
      come back in with it.
    </Notice>
  );
}
