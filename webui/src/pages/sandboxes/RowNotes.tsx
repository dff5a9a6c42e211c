import { Link } from "@tanstack/react-router";
import { X } from "lucide-react";
import { failureWords } from "@/api/errors";
import { isStarting, offers } from "@/api/offers";
import { may } from "@/api/permissions";
import type { Role } from "@/api/roles.gen";
import type { SandboxAct, useFailedAct } from "@/api/sandbox-acts";
import type { Sandbox } from "@/api/schema.gen";
import { startAgain } from "@/lib/agent-commands";
import { IconButton } from "@/ui/Button";
import { CopyText } from "@/ui/Copy";
import styles from "./RowNotes.module.css";

/** The forms show what became of a change themselves. */
const NOT_DONE: Record<Exclude<SandboxAct, "change">, string> = {
  pause: "It was not paused.",
  resume: "It was not resumed.",
  delete: "It was not deleted.",
};

export interface RowNotesProps {
  sandbox: Sandbox;
  role: Role;
  /** What was asked last, and failed. */
  failure: ReturnType<typeof useFailedAct>;
  tabIndex: number;
}

/** Under a row: why it is not well, and the next step. */
export function RowNotes({ sandbox, role, failure, tabIndex }: RowNotesProps) {
  return (
    <>
      {sandbox.status === "failed" && (
        <p className={styles.note}>
          <span className={styles.reason}>{sandbox.statusReason ?? "The server gave no reason."}</span>
          {offers("logs", sandbox, role) && (
            <Link to="/sandboxes/$sandboxId/logs" params={{ sandboxId: sandbox.id }} tabIndex={tabIndex}>
              Logs<span className="off-screen"> of {sandbox.name}</span>
            </Link>
          )}
        </p>
      )}
      {isStarting(sandbox.status) && sandbox.statusReason !== null && (
        <p className={`${styles.note} quiet`}>{sandbox.statusReason}</p>
      )}
      {sandbox.status === "offline" && (
        <Away command={may(role, "connect_agent") ? startAgain(sandbox.id) : null} />
      )}
      <div role="alert">
        {failure && failure.act !== "change" && (
          <p className={styles.note}>
            <span className={styles.fault}>{failureWords(NOT_DONE[failure.act], failure.error)}</span>
            <IconButton label="Close the message" size="small" tabIndex={tabIndex} onClick={failure.close}>
              <X aria-hidden="true" />
            </IconButton>
          </p>
        )}
      </div>
    </>
  );
}

function Away({ command }: { command: string | null }) {
  if (command === null)
    return <p className="quiet">The machine is away. It is back as soon as its agent runs.</p>;
  return (
    <p className={`${styles.note} ${styles.command} quiet`}>
      The machine is away. To bring it back, run there:
      <CopyText text={command} what="Copy the command" />
    </p>
  );
}
