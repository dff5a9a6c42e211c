import { type FormEvent, useEffect, useRef, useState } from "react";
import { api } from "@/api/client";
import { ApiError } from "@/api/errors";
import { Button } from "@/ui/Button";
import styles from "./Entry.module.css";
import { PasswordField } from "./PasswordField";
import { Refusal, useSecondsLeft } from "./Refusal";
import { useSignIn } from "./signing-in";
import { UsernameField } from "./UsernameField";

/** The form for a user name and a password. `done`: signed in already, and being led on. */
export function Credentials({ done }: { done: boolean }) {
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
