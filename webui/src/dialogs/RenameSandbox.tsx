import { type FormEvent, useId, useState } from "react";
import { fieldWords, wordsOf } from "@/api/errors";
import { useSandboxAct } from "@/api/sandbox-acts";
import type { Sandbox } from "@/api/schema.gen";
import { Button } from "@/ui/Button";
import { Dialog } from "@/ui/Dialog";
import { TextField } from "@/ui/Field";
import { closeDialog } from "./dialogs";

export default function RenameSandbox({ sandbox }: { sandbox: Sandbox }) {
  const form = useId();
  const [name, setName] = useState(sandbox.name);
  const act = useSandboxAct();
  const fault = act.error === null ? undefined : (fieldWords(act.error, "name") ?? wordsOf(act.error));
  const rename = (event: FormEvent) => {
    event.preventDefault();
    if (act.isPending) return;
    if (name === sandbox.name) closeDialog();
    else act.mutate({ act: "change", sandbox, change: { name } }, { onSuccess: closeDialog });
  };
  return (
    <Dialog
      title={`Rename ${sandbox.name}`}
      onClose={closeDialog}
      footer={
        <>
          <Button onClick={closeDialog}>Cancel</Button>
          <Button kind="primary" type="submit" form={form} pending={act.isPending}>
            Rename
          </Button>
        </>
      }
    >
      <form id={form} onSubmit={rename}>
        <TextField
          label="Name"
          value={name}
          onChange={(event) => setName(event.target.value)}
          onFocus={(event) => event.target.select()}
          error={fault}
          hint="Its address stays the same."
          maxLength={100}
          autoComplete="off"
          required
        />
      </form>
    </Dialog>
  );
}
