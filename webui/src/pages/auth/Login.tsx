import { useQuery } from "@tanstack/react-query";
import { Link, useSearch } from "@tanstack/react-router";
import { type FormEvent, useEffect, useRef, useState } from "react";
import { api } from "@/api/client";
import { ApiError } from "@/api/errors";
import { registrationQuery } from "@/api/queries";
import { Button } from "@/ui/Button";
import { Loading } from "@/ui/Loaded";
import { Notice } from "@/ui/Notice";
import { Entry } from "./Entry";
import styles from "./Entry.module.css";
import { PasswordField } from "./PasswordField";
import { Providers } from "./Providers";
import { Refusal, useSecondsLeft } from "./Refusal";
import { useLedOn, useSignIn } from "./signing-in";
import { UsernameField } from "./UsernameField";

export default function Login() {
  const { next, ended = false } = useSearch({ from: "/login" });
  const { asking, signedIn } = useLedOn(next);
  return (
    <Entry title="Sign in" below={<Otherwise next={next} />}>
      {asking ? (
        <Loading what="your session" />
      ) : (
        <>
          {ended && (
            <Notice>
              Your session ended. Sandboxes go on with their work; sign in, and you are back where you were.
            </Notice>
          )}
          <Credentials done={signedIn} />
          <Providers next={next} />
        </>
      )}
    </Entry>
  );
}

function Credentials({ done }: { done: boolean }) {
  const [username, setUsername] = useState("");
  const [password, setPassword] = useState("");
  const entry = useSignIn(() => api.POST("/api/auth/login", { body: { username, password } }));
  const left = useSecondsLeft(entry.error);
  const field = useRef<HTMLInputElement>(null);
  const limited = entry.error instanceof ApiError && entry.error.status === 429;
  const wrong = entry.error instanceof ApiError && entry.error.code === "bad_credentials";
  useEffect(() => {
    if (wrong) field.current?.select();
  }, [wrong]);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!entry.isPending && left === 0) entry.mutate();
  };
  return (
    <form className={styles.form} onSubmit={submit}>
      {entry.error && (
        <Refusal error={entry.error} left={left}>
          {limited &&
            "Too many failed attempts from here, so the next has to wait. Your account is not locked."}
        </Refusal>
      )}
      <UsernameField value={username} onChange={(event) => setUsername(event.target.value)} />
      <PasswordField
        ref={field}
        label="Password"
        name="password"
        autoComplete="current-password"
        required
        value={password}
        onChange={(event) => setPassword(event.target.value)}
      />
      <Button kind="primary" type="submit" pending={entry.isPending || done} disabled={left > 0}>
        Sign in
      </Button>
    </form>
  );
}

/** The way to an account, or why there is none. */
function Otherwise({ next }: { next: string | undefined }) {
  const registration = useQuery(registrationQuery).data;
  if (registration === undefined) return null;
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
