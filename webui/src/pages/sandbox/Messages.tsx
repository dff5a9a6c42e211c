import { Link } from "@tanstack/react-router";
import { failureWords } from "@/api/errors";
import { isStarting } from "@/api/offers";
import { may } from "@/api/permissions";
import { type SandboxAct, useFailedAct } from "@/api/sandbox-acts";
import { startAgain } from "@/lib/agent-commands";
import { Button } from "@/ui/Button";
import { CopyBlock } from "@/ui/Copy";
import { Notice } from "@/ui/Notice";
import type { Here } from "./here";
import styles from "./Messages.module.css";

/** The forms show what became of a change themselves. */
const FAILED: Record<Exclude<SandboxAct, "change">, string> = {
  pause: "It was not paused.",
  resume: "It was not resumed.",
  delete: "It was not deleted.",
};

/** Why it does not run, and what became of what was asked, under the header of every tab. */
export function Messages({ sandbox, role }: Here) {
  const failed = useFailedAct(sandbox.id);
  return (
    <>
      {failed !== undefined && failed.act !== "change" && (
        <Notice
          tone="bad"
          action={
            <Button size="small" onClick={failed.close}>
              Close
            </Button>
          }
        >
          {failureWords(FAILED[failed.act], failed.error)}
        </Notice>
      )}
      {isStarting(sandbox.status) && sandbox.statusReason !== null && <Notice>{sandbox.statusReason}</Notice>}
      {sandbox.status === "failed" && <Failure sandbox={sandbox} role={role} />}
      {sandbox.status === "offline" && <Offline sandbox={sandbox} role={role} />}
    </>
  );
}

function Failure({ sandbox, role }: Here) {
  return (
    <Notice
      tone="bad"
      action={
        may(role, "read_logs") && (
          <Link to="/sandboxes/$sandboxId/logs" params={{ sandboxId: sandbox.id }}>
            Logs
          </Link>
        )
      }
    >
      <p>{sandbox.statusReason ?? "It failed, and the server gave no reason."}</p>
      <p className="quiet">
        Its files are kept.{" "}
        {may(role, "resume_sandbox")
          ? "When the cause is mended, try again."
          : "A developer of the workspace can try again."}
      </p>
    </Notice>
  );
}

function Offline({ sandbox, role }: Here) {
  return (
    <Notice tone="warn">
      <div className={styles.stack}>
        <p>The machine is not connected, so nobody can open it. Nothing on it is lost.</p>
        {may(role, "connect_agent") && (
          <>
            <p>Start its agent again, on that machine and in the folder to work in:</p>
            <CopyBlock text={startAgain(sandbox.id)} what="Copy the command" />
            <p className="quiet">
              With the one file, put <code>python3 cli-server-agent.pyz</code> in the place of{" "}
              <code>cli-server agent</code>.
            </p>
          </>
        )}
      </div>
    </Notice>
  );
}
