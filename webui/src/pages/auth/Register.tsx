import { useQuery } from "@tanstack/react-query";
import { Link, useSearch } from "@tanstack/react-router";
import { type FormEvent, useEffect, useRef, useState } from "react";
import { api } from "@/api/client";
import { ApiError, fieldWords, wordsOf } from "@/api/errors";
import { registrationQuery } from "@/api/queries";
import { Button } from "@/ui/Button";
import { TextField } from "@/ui/Field";
import { Loaded, Loading } from "@/ui/Loaded";
import { Notice } from "@/ui/Notice";
import { Entry } from "./Entry";
import styles from "./Entry.module.css";
import { PasswordField } from "./PasswordField";
import { Providers } from "./Providers";
import { Refusal, useSecondsLeft } from "./Refusal";
import { useLedOn, useSignIn } from "./signing-in";
import { UsernameField } from "./UsernameField";

export default function Register() {
  const { next } = useSearch({ from: "/register" });
  const { asking, signedIn } = useLedOn(next);
  const registration = useQuery(registrationQuery);
  return (
    <Entry
      title="Create an account"
      below={
        <>
          You have an account?{" "}
          <Link to="/login" search={next === undefined ? {} : { next }}>
            Sign in
          </Link>
        </>
      }
    >
      {asking ? (
        <Loading what="your session" />
      ) : (
        <Loaded query={registration} what="whether one can register here">
          {({ possible, first, reason }) =>
            possible ? (
              <>
                {first && (
                  <Notice>You are the first here: this account becomes the admin of the server.</Notice>
                )}
                <NewAccount done={signedIn} />
              </>
            ) : (
              <Notice>{reason}</Notice>
            )
          }
        </Loaded>
      )}
      <Providers next={next} />
    </Entry>
  );
}

function NewAccount({ done }: { done: boolean }) {
  const [username, setUsername] = useState("");
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  const entry = useSignIn(() =>
    api.POST("/api/auth/register", { body: { username, password, email: email.trim() || null } }),
  );
  const left = useSecondsLeft(entry.error);
  const wrong = (name: string) => fieldWords(entry.error, name);
  const taken =
    entry.error instanceof ApiError && entry.error.code === "username_taken"
      ? wordsOf(entry.error)
      : undefined;
  const elsewhere = entry.error && !taken && !["username", "email", "password"].some(wrong);
  const form = useRef<HTMLFormElement>(null);
  useEffect(() => {
    if (entry.error) form.current?.querySelector<HTMLInputElement>("[aria-invalid]")?.focus();
  }, [entry.error]);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!entry.isPending && left === 0) entry.mutate();
  };
  return (
    <form ref={form} className={styles.form} onSubmit={submit}>
      {elsewhere && <Refusal error={entry.error} left={left} />}
      <UsernameField
        value={username}
        onChange={(event) => setUsername(event.target.value)}
        error={taken ?? wrong("username")}
        hint={
          !(taken ?? wrong("username")) &&
          "At most 40 of a–z, 0–9, dot, hyphen and underscore; a letter or digit at both ends."
        }
      />
      <TextField
        label="E-mail (optional)"
        name="email"
        autoComplete="email"
        autoCapitalize="none"
        spellCheck={false}
        inputMode="email"
        value={email}
        onChange={(event) => setEmail(event.target.value)}
        error={wrong("email")}
        hint="The admins of this server see it."
      />
      <PasswordField
        label="Password"
        name="password"
        autoComplete="new-password"
        required
        value={password}
        onChange={(event) => setPassword(event.target.value)}
        error={wrong("password")}
        hint={
          !wrong("password") &&
          "At least 8 characters; not your user name, and not one of the most common passwords."
        }
      />
      <Button kind="primary" type="submit" pending={entry.isPending || done} disabled={left > 0}>
        Create the account
      </Button>
    </form>
  );
}
