import { useQuery } from "@tanstack/react-query";
import { type FormEvent, type KeyboardEvent, useEffect, useRef, useState } from "react";
import { fieldWords, wordsOf } from "@/api/errors";
import { offers } from "@/api/offers";
import { serverQuery } from "@/api/queries";
import { useSandboxAct } from "@/api/sandbox-acts";
import type { Sandbox } from "@/api/schema.gen";
import { TimeoutField } from "@/dialogs/create/TimeoutField";
import { durationWords } from "@/lib/time";
import { Button } from "@/ui/Button";
import { Loaded } from "@/ui/Loaded";
import type { Here } from "./here";
import { choiceOf, timeoutOf } from "./idle-choice";
import styles from "./Overview.module.css";

/** How long it may be idle; changed where it stands. */
export function IdleTimeout({ sandbox, role }: Here) {
  const server = useQuery(serverQuery);
  const [editing, setEditing] = useState(false);
  const button = useRef<HTMLButtonElement>(null);
  const edited = useRef(false);
  useEffect(() => {
    if (!editing && edited.current) button.current?.focus();
    edited.current = editing;
  }, [editing]);
  if (editing) {
    return (
      <Loaded query={server} what="the server's limits">
        {({ limits }) => (
          <TimeoutForm sandbox={sandbox} servers={limits.idleTimeout} onEnd={() => setEditing(false)} />
        )}
      </Loaded>
    );
  }
  return (
    <div className={styles.row}>
      {durationWords(sandbox.idleTimeout ?? "0")}
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

interface FormProps {
  sandbox: Sandbox;
  /** The server's own, as it writes it. */
  servers: string;
  onEnd: () => void;
}

function TimeoutForm({ sandbox, servers, onEnd }: FormProps) {
  const [choice, setChoice] = useState(() => choiceOf(sandbox.idleTimeout, servers));
  const act = useSandboxAct();
  const form = useRef<HTMLFormElement>(null);
  useEffect(() => form.current?.querySelector("select")?.focus(), []);
  const save = (event: FormEvent) => {
    event.preventDefault();
    const change = { idleTimeout: timeoutOf(choice) };
    if (!act.isPending) act.mutate({ act: "change", sandbox, change }, { onSuccess: onEnd });
  };
  const leave = (event: KeyboardEvent) => event.key === "Escape" && onEnd();
  const wrong = fieldWords(act.error, "idleTimeout") ?? (act.error === null ? undefined : wordsOf(act.error));
  return (
    <form ref={form} className={styles.form} onSubmit={save} onKeyDown={leave}>
      <TimeoutField
        wanted={choice}
        change={(part) => setChoice({ ...choice, ...part })}
        servers={servers}
        error={wrong}
      />
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
