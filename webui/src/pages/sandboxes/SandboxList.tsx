import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { type KeyboardEvent, useEffect, useId, useMemo, useState } from "react";
import { offers } from "@/api/offers";
import { may } from "@/api/permissions";
import { activityQuery } from "@/api/queries";
import { openHref } from "@/api/sandbox-acts";
import type { Sandbox, Workspace } from "@/api/schema.gen";
import { dialog } from "@/dialogs/dialogs";
import { useStore } from "@/lib/store";
import { Button } from "@/ui/Button";
import { Empty } from "@/ui/Empty";
import { HeadCell } from "./Cell";
import { NO_FILTER, shown } from "./filter";
import { useGrid } from "./grid";
import { wantedRow } from "./row-focus";
import styles from "./SandboxList.module.css";
import { SandboxRow } from "./SandboxRow";
import { SelectionBar } from "./SelectionBar";
import { among, extended, NOTHING, type Selection, toggled } from "./selection";
import { Toolbar } from "./Toolbar";

export interface SandboxListProps {
  workspace: Workspace;
  sandboxes: readonly Sandbox[];
}

export function SandboxList({ workspace, sandboxes }: SandboxListProps) {
  const hint = useId();
  const navigate = useNavigate();
  const activity = useActivity(workspace.id);
  const [filter, setFilter] = useState(NO_FILTER);
  const [selected, setSelected] = useState<Selection>(NOTHING);
  const rows = useMemo(() => shown(sandboxes, filter), [sandboxes, filter]);
  const ids = useMemo(() => rows.map((row) => row.id), [rows]);
  const selection = among(selected, ids);
  // Nothing can be done with what a guest selects.
  const selects = may(workspace.role, "delete_sandbox");

  const enter = (sandboxId: string, event: KeyboardEvent) => {
    const row = rows.find((one) => one.id === sandboxId);
    if (!event.ctrlKey && !event.metaKey) {
      void navigate({ to: "/sandboxes/$sandboxId", params: { sandboxId } });
    } else if (row && offers("open", row, workspace.role)) {
      open(openHref(row), "_blank", "noopener");
    }
  };
  const grid = useGrid({
    ids,
    onEnter: enter,
    onSpace: (id) => selects && setSelected(toggled(selection, id)),
    onExtend: (from, to) => selects && setSelected(extended(selection, ids, from, to)),
    onAll: () => selects && setSelected(new Set(ids)),
    onEscape: () => setSelected(NOTHING),
  });
  useWantedRow(sandboxes, ids, grid.focus, () => setFilter(NO_FILTER));

  const select = (id: string, range: boolean) =>
    setSelected(range && grid.active ? extended(selection, ids, grid.active, id) : toggled(selection, id));
  return (
    <div className={styles.holder} {...grid.holder}>
      <Toolbar sandboxes={sandboxes} filter={filter} onFilter={setFilter} />
      {rows.length === 0 ? (
        <Empty
          title="No sandbox matches"
          action={<Button onClick={() => setFilter(NO_FILTER)}>Show all</Button>}
        />
      ) : (
        // biome-ignore lint/a11y/useSemanticElements: see Cell.tsx
        <div
          role="grid"
          className={styles.grid}
          aria-label="Sandboxes"
          aria-multiselectable={selects}
          aria-describedby={hint}
        >
          <Head selects={selects} />
          {rows.map((sandbox) => (
            <SandboxRow
              key={sandbox.id}
              sandbox={sandbox}
              role={workspace.role}
              counts={activity?.get(sandbox.id) ?? (activity && [])}
              active={sandbox.id === grid.active}
              selected={selection.has(sandbox.id)}
              {...(selects && { onSelect: select })}
            />
          ))}
        </div>
      )}
      <p id={hint} className={styles.hint}>
        <kbd>↑</kbd> <kbd>↓</kbd> move · <kbd>Enter</kbd> its page
        {selects && (
          <>
            {" · "}
            <kbd>Ctrl Enter</kbd> open · <kbd>Space</kbd> select
          </>
        )}
      </p>
      {selects && (
        <SelectionBar
          sandboxes={rows.filter((row) => selection.has(row.id))}
          role={workspace.role}
          onClear={() => setSelected(NOTHING)}
        />
      )}
    </div>
  );
}

const TITLES = ["Status", "Name", "Made by", "Last activity", "LLM calls, 24 h"];

function Head({ selects }: { selects: boolean }) {
  return (
    // biome-ignore lint/a11y/useSemanticElements: see Cell.tsx
    // biome-ignore lint/a11y/useFocusableInteractive: there is nothing to be done with it
    <div role="row" className={`${styles.head} ${styles.line} ${selects ? "" : styles.plain}`}>
      {selects && (
        <HeadCell>
          <span className="off-screen">Selected</span>
        </HeadCell>
      )}
      {TITLES.map((title) => (
        <HeadCell key={title}>{title}</HeadCell>
      ))}
      <HeadCell>
        <span className="off-screen">What makes sense now</span>
      </HeadCell>
      <HeadCell>
        <span className="off-screen">All that can be done</span>
      </HeadCell>
    </div>
  );
}

/** LLM calls of each hour of the last day, by sandbox. */
function useActivity(workspaceId: string): ReadonlyMap<string, readonly number[]> | undefined {
  const { data } = useQuery(activityQuery(workspaceId));
  return useMemo(
    () => data && new Map(data.sandboxes.map(({ sandboxId, requests }) => [sandboxId, requests])),
    [data],
  );
}

/** The row of what was just made takes the focus, once no dialog has it any more. */
function useWantedRow(
  sandboxes: readonly Sandbox[],
  ids: readonly string[],
  focus: (id: string) => void,
  showAll: () => void,
): void {
  const wanted = useStore(wantedRow);
  const noDialog = useStore(dialog) === null;
  useEffect(() => {
    if (wanted === null || !noDialog) return;
    if (ids.includes(wanted)) {
      // After the dialog has given the focus back, which it does in a timer.
      setTimeout(() => focus(wanted), 0);
      wantedRow.set(null);
    } else if (sandboxes.some((one) => one.id === wanted)) {
      showAll();
    }
  });
}
