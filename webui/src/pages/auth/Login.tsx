import { useQuery } from "@tanstack/react-query";
import { Link, useSearch } from "@tanstack/react-router";
import { providersQuery, registrationQuery } from "@/api/queries";
import { INVITE_PAGE, invitationFor, JOINED_PAGE } from "@/lib/invitation";
import { safeNext } from "@/lib/next";
import { buttonClass } from "@/ui/Button";
import { Loading } from "@/ui/Loaded";
import { Notice } from "@/ui/Notice";
import { Credentials } from "./Credentials";
import { Entry } from "./Entry";
import { Providers } from "./Providers";
import { SignedOutHere } from "./SignedOutHere";
import { signInErrorWords } from "./sign-in-errors";
import { useLedOn } from "./signing-in";

export default function Login() {
  const { next: wanted, ended = false, error, left } = useSearch({ from: "/login" });
  // What came to nothing at the provider did not use the invitation either.
  const next = error !== undefined && wanted === JOINED_PAGE ? INVITE_PAGE : wanted;
  const { asking, signedIn, going, me } = useLedOn(next, error !== undefined);
  const invitation = invitationFor(next);
  if (!asking && signedIn && !going && me && error !== undefined)
    return <Refused error={error} next={next} username={me.username} />;
  return (
    <Entry title="Sign in" below={<Otherwise next={next} invited={invitation !== null} />}>
      {asking ? (
        <Loading what="your session" />
      ) : (
        <>
          {error !== undefined && <Notice tone="bad">{signInErrorWords(error)}</Notice>}
          {ended && (
            <Notice>
              Your session ended. Sandboxes go on with their work; sign in, and you are back where you were.
            </Notice>
          )}
          {left !== undefined && <SignedOutHere provider={left} />}
          <Credentials done={signedIn} />
          <Providers next={next} invitation={invitation} />
        </>
      )}
    </Entry>
  );
}

/** Somebody who is signed in came back from a provider with nothing. */
function Refused({ error, next, username }: { error: string; next: string | undefined; username: string }) {
  const path = safeNext(next);
  return (
    <Entry title="Nothing was changed">
      <Notice tone="bad">{signInErrorWords(error)}</Notice>
      <p>
        You are signed in as <strong>{username}</strong>, as before.
      </p>
      <a href={path} className={buttonClass("primary")}>
        {path === "/" ? "To your sandboxes" : "Back to where you were"}
      </a>
    </Entry>
  );
}

/** The way to an account, or why there is none. */
function Otherwise({ next, invited }: { next: string | undefined; invited: boolean }) {
  const registration = useQuery(registrationQuery).data;
  const own = useQuery(providersQuery).data?.providers.find(({ id }) => id === "oidc");
  if (invited)
    return (
      <>
        No account? <Link to={INVITE_PAGE}>Create one with your invitation</Link>
      </>
    );
  if (registration === undefined) return null;
  // Whom the company's own provider knows is let in (the server's rule for this one).
  if (!registration.possible && own !== undefined)
    return <>No account? Signing in with {own.name} makes one.</>;
  if (!registration.possible) return <>No account? {registration.reason}</>;
  return (
    <>
      {registration.first ? "Nobody has an account here yet. " : "No account? "}
      <Link to="/register" search={next === undefined ? {} : { next }}>
        Create an account
      </Link>
    </>
  );
}
