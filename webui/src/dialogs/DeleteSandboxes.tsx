import { useState } from "react";
import { ApiError, failureWords } from "@/api/errors";
import { useSandboxAct } from "@/api/sandbox-acts";
import type { Sandbox } from "@/api/schema.gen";
import { Button } from "@/ui/Button";
import { Dialog } from "@/ui/Dialog";
import { Notice } from "@/ui/Notice";
import styles from "./DeleteSandboxes.module.css";
import { closeDialog, dialog } from "./dialogs";

interface Fault {
  sandbox: Sandbox;
  words: string;
}

/** Says what goes with them, and deletes them. Those that could not be deleted stay listed, with the reason. */
export default function DeleteSandboxes({ sandboxes }: { sandboxes: readonly Sandbox[] }) {
  const { mutateAsync } = useSandboxAct();
  const [left, setLeft] = useState(sandboxes);
  const [faults, setFaults] = useState<readonly Fault[]>([]);
  const [pending, setPending] = useState(false);
  const verb = left.every((sandbox) => sandbox.isLocal) ? "Disconnect" : "Delete";

  const remove = async () => {
    const own = dialog.value;
    setPending(true);
    const outcomes = await Promise.all(
      left.map((sandbox) =>
        mutateAsync({ act: "delete", sandbox }).then(
          () => null,
          (error) => faultOf(sandbox, error),
        ),
      ),
    );
    const found = outcomes.filter((fault) => fault !== null);
    if (dialog.value !== own) return; // somebody did not wait, and it is another dialog now
    if (found.length === 0) return closeDialog();
    setFaults(found);
    setLeft(found.map(({ sandbox }) => sandbox));
    setPending(false);
  };

  return (
    <Dialog
      title={titleOf(verb, left)}
      onClose={closeDialog}
      footer={
        <>
          <Button onClick={closeDialog}>Cancel</Button>
          <Button kind="danger" pending={pending} onClick={() => void remove()}>
            {verb}
          </Button>
        </>
      }
    >
      <Consequences sandboxes={left} />
      {faults.map(({ sandbox, words }) => (
        <Notice key={sandbox.id} tone="bad">
          {words}
        </Notice>
      ))}
    </Dialog>
  );
}

function Consequences({ sandboxes }: { sandboxes: readonly Sandbox[] }) {
  const cloud = sandboxes.filter((sandbox) => !sandbox.isLocal);
  const local = sandboxes.filter((sandbox) => sandbox.isLocal);
  const running = cloud.filter((sandbox) => sandbox.status === "running");
  const many = sandboxes.length > 1;
  return (
    <>
      {cloud.length > 0 && (
        <div className={styles.part}>
          {many && <Names sandboxes={cloud} />}
          <p>
            {cloud.length === 1 ? "Its home goes with it, and all" : "Their homes go with them, and all"} that
            is not on the shared disk. It cannot be brought back. The shared disk, /data/disk0, stays.
          </p>
          {running.length > 0 && <p>{runningWords(running.length, cloud.length)}</p>}
        </div>
      )}
      {local.length > 0 && (
        <div className={styles.part}>
          {many && <Names sandboxes={local} />}
          <p>
            {local.length === 1 ? "The machine is" : "These machines are"} disconnected and can come back with
            a new code only. What is on {local.length === 1 ? "it" : "them"} stays.
          </p>
        </div>
      )}
    </>
  );
}

function Names({ sandboxes }: { sandboxes: readonly Sandbox[] }) {
  return (
    <ul className={styles.names}>
      {sandboxes.map((sandbox) => (
        <li key={sandbox.id}>{sandbox.name}</li>
      ))}
    </ul>
  );
}

function titleOf(verb: string, sandboxes: readonly Sandbox[]): string {
  const [first] = sandboxes;
  if (sandboxes.length === 1 && first) return `${verb} ${first.name}?`;
  return `${verb} ${sandboxes.length} ${sandboxes.every((sandbox) => sandbox.isLocal) ? "machines" : "sandboxes"}?`;
}

function runningWords(running: number, all: number): string {
  if (all === 1) return "It is running: what it does now ends.";
  return running === 1
    ? "One is running: what it does now ends."
    : `${running} are running: what they do now ends.`;
}

/** `null` where it is gone already, by another hand. */
function faultOf(sandbox: Sandbox, error: unknown): Fault | null {
  if (error instanceof ApiError && error.status === 404) return null;
  return { sandbox, words: failureWords(`${sandbox.name} is still there.`, error) };
}
