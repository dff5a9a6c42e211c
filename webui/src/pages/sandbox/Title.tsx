import { Pencil } from "lucide-react";
import { type FormEvent, type KeyboardEvent, useEffect, useRef, useState } from "react";
import { fieldWords, wordsOf } from "@/api/errors";
import { offers } from "@/api/offers";
import { useSandboxAct } from "@/api/sandbox-acts";
import { Badge } from "@/ui/Badge";
import { Button, IconButton } from "@/ui/Button";
import { TextField } from "@/ui/Field";
import { Status } from "@/ui/Status";
import type { Here } from "./here";
import styles from "./Title.module.css";

/** Name and status. The name is changed where it stands. */
export function Title({ sandbox, role }: Here) {
  const [editing, setEditing] = useState(false);
  const pencil = useRef<HTMLButtonElement>(null);
  const edited = useRef(false);
  useEffect(() => {
    // The focus goes back to where it was.
    if (!editing && edited.current) pencil.current?.focus();
    edited.current = editing;
  }, [editing]);
  if (editing) return <NameForm sandbox={sandbox} role={role} onEnd={() => setEditing(false)} />;
  return (
    <div className={styles.line}>
      <div className={styles.named}>
        <h1 className={styles.name}>{sandbox.name}</h1>
        {offers("rename", sandbox, role) && (
          <IconButton ref={pencil} label="Rename" size="small" onClick={() => setEditing(true)}>
            <Pencil aria-hidden="true" />
          </IconButton>
        )}
      </div>
      <span role="status">
        <Status status={sandbox.status} />
      </span>
      <Badge>{sandbox.isLocal ? "Local" : "Cloud"}</Badge>
    </div>
  );
}

function NameForm({ sandbox, onEnd }: Here & { onEnd: () => void }) {
  const [name, setName] = useState(sandbox.name);
  const act = useSandboxAct();
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.select(), []);
  const save = (event: FormEvent) => {
    event.preventDefault();
    if (act.isPending) return;
    if (name === sandbox.name) onEnd();
    else act.mutate({ act: "change", sandbox, change: { name } }, { onSuccess: onEnd });
  };
  const leave = (event: KeyboardEvent) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    onEnd();
  };
  const wrong = fieldWords(act.error, "name") ?? (act.error === null ? undefined : wordsOf(act.error));
  return (
    <form className={styles.form} onSubmit={save} onKeyDown={leave}>
      <TextField
        ref={field}
        label="Name"
        hideLabel
        value={name}
        error={wrong}
        autoComplete="off"
        spellCheck={false}
        onChange={(event) => setName(event.target.value)}
      />
      <Button type="submit" kind="primary" pending={act.isPending}>
        Save
      </Button>
      <Button onClick={onEnd}>Cancel</Button>
    </form>
  );
}
