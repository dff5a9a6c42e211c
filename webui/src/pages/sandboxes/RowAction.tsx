import { ExternalLink, Play, RotateCw } from "lucide-react";
import { mainOffer, offerWords } from "@/api/offers";
import type { Role } from "@/api/roles.gen";
import { openHref, type SandboxAct, usePendingAct, useSandboxAct } from "@/api/sandbox-acts";
import type { Sandbox } from "@/api/schema.gen";
import { Button, buttonClass } from "@/ui/Button";
import styles from "./RowAction.module.css";

/** What a status that passes by itself is waiting for. */
const WAITING: Partial<Record<Sandbox["status"], string>> = {
  creating: "Starting…",
  resuming: "Starting…",
  pausing: "Stopping…",
  deleting: "Going…",
};

const ASKED: Record<SandboxAct, string> = {
  pause: "Pausing…",
  resume: "Resuming…",
  delete: "Deleting…",
  change: "Saving…",
};

export interface RowActionProps {
  sandbox: Sandbox;
  role: Role;
  tabIndex: number;
}

/** The one thing that makes sense now. What was asked for shows here at once, and nowhere as done. */
export function RowAction({ sandbox, role, tabIndex }: RowActionProps) {
  const pending = usePendingAct(sandbox.id);
  const act = useSandboxAct();
  const main = mainOffer(sandbox, role);
  if (main === "resume") {
    const asked = pending === undefined ? undefined : ASKED[pending];
    const failed = sandbox.status === "failed";
    return (
      <Button
        kind="secondary"
        size="small"
        tabIndex={tabIndex}
        icon={failed ? <RotateCw aria-hidden="true" /> : <Play aria-hidden="true" />}
        pending={asked !== undefined}
        onClick={() => act.mutate({ act: "resume", sandbox })}
      >
        {asked ?? offerWords("resume", sandbox)}
        <span className="off-screen"> {sandbox.name}</span>
      </Button>
    );
  }
  if (pending !== undefined) return <Waiting words={ASKED[pending]} />;
  if (main === "open") {
    return (
      <a
        className={buttonClass("secondary", "small")}
        href={openHref(sandbox)}
        target="_blank"
        rel="noopener"
        tabIndex={tabIndex}
      >
        <ExternalLink aria-hidden="true" />
        Open<span className="off-screen"> {sandbox.name} in a new tab</span>
      </a>
    );
  }
  const waiting = WAITING[sandbox.status];
  return waiting === undefined ? null : <Waiting words={waiting} />;
}

function Waiting({ words }: { words: string }) {
  return <span className={styles.waiting}>{words}</span>;
}
