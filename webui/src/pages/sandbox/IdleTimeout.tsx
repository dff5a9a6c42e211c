import { useQuery } from "@tanstack/react-query";
import { type FormEvent, type KeyboardEvent, useEffect, useRef, useState } from "react";
import { ApiError, wordsOf } from "@/api/errors";
import { offers } from "@/api/offers";
import { serverQuery } from "@/api/queries";
import { useSandboxAct } from "@/api/sandbox-acts";
import { durationWords } from "@/lib/time";
import { Button } from "@/ui/Button";
import { SelectField, TextField } from "@/ui/Field";
import type { Here } from "./here";
import { chosenOf, PRESETS, wantedOf } from "./idle-choice";
import styles from "./Overview.module.css";

/** How long it may be idle; changed where it stands. */
export function IdleTimeout({ sandbox, role }: Here) {
  const [editing, setEditing] = useState(false);
  const button = useRef<HTMLButtonElement>(null);
  const edited = useRef(false);
  useEffect(() => {
    if (!editing && edited.current) button.current?.focus();
    edited.current = editing;
  }, [editing]);
  if (editing) return <TimeoutForm sandbox={sandbox} role={role} onEnd={() => setEditing(false)} />;
  return (
    <div className={styles.row}>
      {sandbox.idleTimeout === null ? "none" : durationWords(sandbox.idleTimeout)}
      {offers("rename", sandbox, role) && (
        <Button
          ref={button}
          size="small"
          aria-label="Change the idle timeout"
          onClick={() => setEditing(true)}
        >
          Change
        </Button>
      )}
    </div>
  );
}

function TimeoutForm({ sandbox, onEnd }: Here & { onEnd: () => void }) {
  const usual = useQuery(serverQuery).data?.limits.idleTimeout;
  const [choice, setChoice] = useState(() => chosenOf(sandbox.idleTimeout, usual));
  const [own, setOwn] = useState(sandbox.idleTimeout ?? "");
  const act = useSandboxAct();
  const select = useRef<HTMLSelectElement>(null);
  useEffect(() => select.current?.focus(), []);
  const save = (event: FormEvent) => {
    event.preventDefault();
    const idleTimeout = wantedOf(choice, own);
    if (!act.isPending) act.mutate({ act: "change", sandbox, change: { idleTimeout } }, { onSuccess: onEnd });
  };
  const leave = (event: KeyboardEvent) => event.key === "Escape" && onEnd();
  const { error } = act;
  const wrong =
    error instanceof ApiError ? (error.field("idleTimeout") ?? error.message) : error && wordsOf(error);
  return (
    <form className={styles.form} onSubmit={save} onKeyDown={leave}>
      <SelectField
        ref={select}
        label="Pause it when it was idle for"
        value={choice}
        error={choice === "own" ? undefined : (wrong ?? undefined)}
        onChange={(event) => setChoice(event.target.value)}
      >
        <option value="usual">
          {usual === undefined ? "The server's default" : `The server's default (${durationWords(usual)})`}
        </option>
        {PRESETS.map((text) => (
          <option key={text} value={text}>
            {text === "0" ? "Never" : durationWords(text)}
          </option>
        ))}
        <option value="own">Another time</option>
      </SelectField>
      {choice === "own" && (
        <TextField
          label="Time"
          value={own}
          error={wrong ?? undefined}
          hint="Such as 45m, 90s or 1h30m"
          autoComplete="off"
          onChange={(event) => setOwn(event.target.value)}
        />
      )}
      <div className={styles.buttons}>
        <Button type="submit" kind="primary" size="small" pending={act.isPending}>
          Save
        </Button>
        <Button size="small" onClick={onEnd}>
          Cancel
        </Button>
      </div>
    </form>
  );
}
