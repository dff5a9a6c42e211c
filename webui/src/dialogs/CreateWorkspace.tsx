import { useNavigate } from "@tanstack/react-router";
import { type FormEvent, useId, useState } from "react";
import { fieldWords, wordsOf } from "@/api/errors";
import { useCreateWorkspace } from "@/api/workspace-acts";
import { Button } from "@/ui/Button";
import { Dialog } from "@/ui/Dialog";
import { TextField } from "@/ui/Field";
import { Notice } from "@/ui/Notice";
import { closeDialog } from "./dialogs";

export default function CreateWorkspace() {
  const [name, setName] = useState("");
  const form = useId();
  const navigate = useNavigate();
  const create = useCreateWorkspace((workspace) => {
    closeDialog();
    void navigate({ to: "/w/$workspaceId/sandboxes", params: { workspaceId: workspace.id } });
  });
  const wrong = fieldWords(create.error, "name");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!create.isPending) create.mutate(name);
  };
  return (
    <Dialog
      title="New workspace"
      description="A workspace holds sandboxes, a disk that they share, and the people who use them. You are its owner."
      onClose={closeDialog}
      footer={
        <>
          <Button onClick={closeDialog}>Cancel</Button>
          <Button
            kind="primary"
            type="submit"
            form={form}
            pending={create.isPending}
            disabled={name.trim() === ""}
          >
            Create the workspace
          </Button>
        </>
      }
    >
      <form id={form} onSubmit={submit}>
        <TextField
          label="Name"
          autoComplete="off"
          autoFocus
          required
          maxLength={100}
          value={name}
          onChange={(event) => setName(event.target.value)}
          error={wrong}
        />
      </form>
      {create.error && !wrong && <Notice tone="bad">{wordsOf(create.error)}</Notice>}
    </Dialog>
  );
}
