import { Pause, Play, Trash2, X } from "lucide-react";
import { offering } from "@/api/offers";
import type { Role } from "@/api/roles.gen";
import { type SandboxAct, useSandboxAct } from "@/api/sandbox-acts";
import type { Sandbox } from "@/api/schema.gen";
import { openDialog } from "@/dialogs/dialogs";
import { Button, IconButton } from "@/ui/Button";
import styles from "./SelectionBar.module.css";

export interface SelectionBarProps {
  sandboxes: readonly Sandbox[];
  role: Role;
  onClear: () => void;
}

/** What can be done with all that is selected; each button says with how many. */
export function SelectionBar({ sandboxes, role, onClear }: SelectionBarProps) {
  const { mutate } = useSandboxAct();
  const each = (act: SandboxAct, some: readonly Sandbox[]) => {
    for (const sandbox of some) mutate({ act, sandbox });
  };
  const count = sandboxes.length;
  const paused = offering("resume", sandboxes, role);
  const running = offering("pause", sandboxes, role);
  const deleted = offering("delete", sandboxes, role);
  const words = count === 0 ? "" : `${count} selected`;
  return (
    <>
      <p role="status" className="off-screen">
        {words}
      </p>
      {count > 0 && (
        <section className={styles.bar} aria-label="The selected sandboxes">
          <span className={styles.words}>{words}</span>
          {running.length > 0 && (
            <Button size="small" icon={<Pause aria-hidden="true" />} onClick={() => each("pause", running)}>
              Pause {running.length}
            </Button>
          )}
          {paused.length > 0 && (
            <Button size="small" icon={<Play aria-hidden="true" />} onClick={() => each("resume", paused)}>
              Resume {paused.length}
            </Button>
          )}
          {deleted.length > 0 && (
            <Button
              kind="danger"
              size="small"
              icon={<Trash2 aria-hidden="true" />}
              onClick={() => openDialog({ kind: "delete-sandboxes", sandboxes: deleted })}
            >
              Delete {deleted.length}…
            </Button>
          )}
          <IconButton label="Clear the selection" size="small" onClick={onClear}>
            <X aria-hidden="true" />
          </IconButton>
        </section>
      )}
    </>
  );
}
