import { type FormEvent, useState } from "react";
import { fieldWords, wordsOf } from "@/api/errors";
import type { Workspace } from "@/api/schema.gen";
import { useRenameWorkspace } from "@/api/workspace-acts";
import { Button } from "@/ui/Button";
import { TextField } from "@/ui/Field";
import { Notice } from "@/ui/Notice";
import styles from "./Settings.module.css";

export function RenameWorkspace({ workspace }: { workspace: Workspace }) {
  // Until something is typed, the field follows what others do.
  const [typed, setTyped] = useState<string>();
  const rename = useRenameWorkspace(workspace.id);
  const name = typed ?? workspace.name;
  const changed = name.trim() !== workspace.name && name.trim() !== "";
  const wrong = fieldWords(rename.error, "name");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!changed || rename.isPending) return;
    rename.mutate(name, { onSuccess: () => setTyped(undefined) });
  };
  return (
    <form onSubmit={submit}>
      <div className={styles.form}>
        <TextField
          label="Name"
          autoComplete="off"
          maxLength={100}
          value={name}
          onChange={(event) => setTyped(event.target.value)}
          error={wrong}
        />
        <Button type="submit" className={styles.beside ?? ""} pending={rename.isPending} disabled={!changed}>
          Rename
        </Button>
        <p className={styles.said} role="status">
          {rename.isSuccess && !changed && "Renamed."}
        </p>
      </div>
      {rename.error && !wrong && <Notice tone="bad">{wordsOf(rename.error)}</Notice>}
    </form>
  );
}
