import { Link } from "@tanstack/react-router";
import { isStarting } from "@/api/offers";
import { may } from "@/api/permissions";
import type { Role } from "@/api/roles.gen";
import { useFailedAct } from "@/api/sandbox-acts";
import type { Sandbox } from "@/api/schema.gen";
import { Ago } from "@/ui/Ago";
import { Badge } from "@/ui/Badge";
import { Sparkline } from "@/ui/Sparkline";
import { Status } from "@/ui/Status";
import { Cell } from "./Cell";
import { RowAction } from "./RowAction";
import { RowMenu } from "./RowMenu";
import { RowNotes } from "./RowNotes";
import styles from "./SandboxList.module.css";

export interface SandboxRowProps {
  sandbox: Sandbox;
  role: Role;
  /** LLM calls by hour; empty where there were none, `undefined` while it is not known. */
  counts: readonly number[] | undefined;
  /** The row that the Tab key leads to, with its controls. */
  active: boolean;
  selected: boolean;
  /** `range`: with all from the active row on. Without it nothing can be selected. */
  onSelect?: (id: string, range: boolean) => void;
}

export function SandboxRow(props: SandboxRowProps) {
  const { sandbox, role, counts, active, selected, onSelect } = props;
  const failure = useFailedAct(sandbox.id);
  const tabIndex = active ? 0 : -1;
  const waits = isStarting(sandbox.status) && sandbox.statusReason !== null;
  const hasNotes =
    waits || sandbox.status === "failed" || sandbox.status === "offline" || failure !== undefined;
  return (
    // biome-ignore lint/a11y/useSemanticElements: see Cell.tsx
    <div
      role="row"
      className={`${styles.line} ${styles.row} ${onSelect ? "" : styles.plain}`}
      data-row={sandbox.id}
      tabIndex={tabIndex}
      aria-selected={onSelect && selected}
    >
      {onSelect && (
        <Cell className={styles.select}>
          <label>
            <input
              type="checkbox"
              checked={selected}
              tabIndex={tabIndex}
              aria-label={`Select ${sandbox.name}`}
              onChange={(event) => onSelect(sandbox.id, isShift(event.nativeEvent))}
            />
          </label>
        </Cell>
      )}
      <Cell className={styles.status}>
        <Status status={sandbox.status} />
      </Cell>
      <Cell className={styles.name}>
        <Link
          to="/sandboxes/$sandboxId"
          params={{ sandboxId: sandbox.id }}
          tabIndex={tabIndex}
          className={styles.link}
          title={sandbox.name}
        >
          {sandbox.name}
        </Link>
        <Badge>{sandbox.isLocal ? "Local" : "Cloud"}</Badge>
      </Cell>
      <Cell className={styles.maker}>{sandbox.createdBy?.username ?? "a user who is gone"}</Cell>
      <Cell className={styles.seen}>
        <Ago time={sandbox.lastActivityAt} />
      </Cell>
      <Cell className={styles.calls}>
        {counts && <Sparkline counts={counts.length > 0 ? counts : NO_CALLS} label={callWords(counts)} />}
      </Cell>
      <Cell className={styles.action}>
        <RowAction sandbox={sandbox} role={role} tabIndex={tabIndex} />
      </Cell>
      <Cell className={styles.menu}>
        {may(role, "change_sandbox") && <RowMenu sandbox={sandbox} role={role} tabIndex={tabIndex} />}
      </Cell>
      {hasNotes && (
        <Cell className={styles.notes}>
          <RowNotes sandbox={sandbox} role={role} failure={failure} tabIndex={tabIndex} />
        </Cell>
      )}
    </div>
  );
}

const NO_CALLS: readonly number[] = Array.from({ length: 24 }, () => 0);

function callWords(counts: readonly number[]): string {
  const all = counts.reduce((sum, count) => sum + count, 0);
  if (all === 0) return "No LLM calls in the last 24 hours";
  return `${all} LLM ${all === 1 ? "call" : "calls"} in the last 24 hours`;
}

function isShift(event: Event): boolean {
  return event instanceof MouseEvent && event.shiftKey;
}
