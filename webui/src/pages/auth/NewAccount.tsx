import { type FormEvent, useEffect, useRef, useState } from "react";
import { api } from "@/api/client";
import { ApiError, fieldWords, wordsOf } from "@/api/errors";
import { Button } from "@/ui/Button";
import { TextField } from "@/ui/Field";
import styles from "./Entry.module.css";
import { PasswordField } from "./PasswordField";
import { Refusal, useSecondsLeft } from "./Refusal";
import { useSignIn } from "./signing-in";
import { UsernameField } from "./UsernameField";

export interface NewAccountProps {
  /** Signed in already: one is being led on. */
  done: boolean;
  /** The token that lets one register where nobody else can. */
  invitation?: string | null;
  /** What the button does. */
  verb?: string;
  onRegistered?: () => void;
}

/** The form for an account with a password. */
export function NewAccount({
  done,
  invitation = null,
  verb = "Create the account",
  onRegistered,
}: NewAccountProps) {
  const [username, setUsername] = useState("");
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  const entry = useSignIn(async () => {
    await api.POST("/api/auth/register", {
      body: { username, password, email: email.trim() || null, invitation },
    });
    onRegistered?.();
  });
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
        {verb}
      </Button>
    </form>
  );
}
