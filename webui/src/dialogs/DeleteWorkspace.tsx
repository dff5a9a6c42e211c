import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { type FormEvent, useId, useState } from "react";
import { wordsOf } from "@/api/errors";
import { contentsQuery } from "@/api/queries";
import type { Contents, Workspace } from "@/api/schema.gen";
import { useDeleteWorkspace } from "@/api/workspace-acts";
import { count, sizeWords } from "@/lib/size";
import { Button } from "@/ui/Button";
import { Dialog } from "@/ui/Dialog";
import { TextField } from "@/ui/Field";
import { Loaded } from "@/ui/Loaded";
import { Notice } from "@/ui/Notice";
import { notify } from "@/ui/Toasts";
import { closeDialog } from "./dialogs";

export default function DeleteWorkspace({ workspace }: { workspace: Workspace }) {
  const [typed, setTyped] = useState("");
  const form = useId();
  const navigate = useNavigate();
  const contents = useQuery({ ...contentsQuery(workspace.id), staleTime: 0 });
  const remove = useDeleteWorkspace(workspace.id, () => {
    closeDialog();
    notify(`“${workspace.name}” was deleted.`);
    void navigate({ to: "/", replace: true });
  });
  // Nobody deletes what they were not shown.
  const ready = typed.trim() === workspace.name && contents.isSuccess;
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (ready && !remove.isPending) remove.mutate();
  };
  return (
    <Dialog
      title={`Delete “${workspace.name}”`}
      onClose={closeDialog}
      footer={
        <>
          <Button onClick={closeDialog}>Cancel</Button>
          <Button kind="danger" type="submit" form={form} pending={remove.isPending} disabled={!ready}>
            Delete the workspace
          </Button>
        </>
      }
    >
      <Loaded query={contents} what="what is in it">
        {(inside) => <Losses contents={inside} />}
      </Loaded>
      <form id={form} onSubmit={submit}>
        <TextField
          label={`Type the name, ${workspace.name}, to confirm`}
          autoComplete="off"
          autoCapitalize="none"
          spellCheck={false}
          autoFocus
          value={typed}
          onChange={(event) => setTyped(event.target.value)}
        />
      </form>
      {remove.error && <Notice tone="bad">{wordsOf(remove.error)}</Notice>}
    </Dialog>
  );
}

/** What goes with the workspace, and what stays. */
function Losses({ contents }: { contents: Contents }) {
  const { cloudSandboxes, localSandboxes, diskBytes } = contents;
  const disk =
    diskBytes === null
      ? "the disk"
      : diskBytes === 0
        ? "the disk, which is empty"
        : `the disk, ${sizeWords(diskBytes)}`;
  return (
    <>
      <p>
        {cloudSandboxes === 0
          ? `It has no cloud sandboxes. Deleted with it for good: ${disk}.`
          : `Deleted with it for good: ${count(cloudSandboxes, "cloud sandbox", "cloud sandboxes")} with what is in them, and ${disk}.`}
      </p>
      {localSandboxes > 0 && (
        <p>
          {localSandboxes === 1
            ? "1 machine is disconnected; what is on it stays."
            : `${localSandboxes} machines are disconnected; what is on them stays.`}
        </p>
      )}
      <p>Its members lose it at once. This cannot be undone.</p>
    </>
  );
}
