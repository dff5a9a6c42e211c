import { Search } from "lucide-react";
import type { Sandbox } from "@/api/schema.gen";
import { TextField } from "@/ui/Field";
import { counts, type Filter, type Group, WORTH_A_FILTER } from "./filter";
import styles from "./Toolbar.module.css";

const WORDS: Record<Group, string> = {
  running: "Running",
  changing: "Changing",
  paused: "Paused",
  offline: "Offline",
  failed: "Failed",
};

export interface ToolbarProps {
  sandboxes: readonly Sandbox[];
  filter: Filter;
  onFilter: (filter: Filter) => void;
}

/** Above the list: how many there are of each status, which filters, and a box to search in. */
export function Toolbar({ sandboxes, filter, onFilter }: ToolbarProps) {
  const groups = counts(sandboxes);
  const searches = sandboxes.length > WORTH_A_FILTER || filter.typed !== "";
  if (!searches && groups.length < 2 && filter.group === null) return null;
  const choose = (group: Group | null) => onFilter({ ...filter, group });
  return (
    <div className={styles.toolbar}>
      <fieldset className={styles.groups}>
        <legend className="off-screen">Which are shown</legend>
        <Count
          words="All"
          count={sandboxes.length}
          on={filter.group === null}
          onChoose={() => choose(null)}
        />
        {groups.map(({ group, count }) => (
          <Count
            key={group}
            words={WORDS[group]}
            count={count}
            on={filter.group === group}
            onChoose={() => choose(filter.group === group ? null : group)}
          />
        ))}
      </fieldset>
      {searches && (
        <div className={styles.search}>
          <Search aria-hidden="true" />
          <TextField
            label="Filter by name or who made it"
            hideLabel
            placeholder="Filter"
            type="search"
            value={filter.typed}
            onChange={(event) => onFilter({ ...filter, typed: event.target.value })}
          />
        </div>
      )}
    </div>
  );
}

interface CountProps {
  words: string;
  count: number;
  on: boolean;
  onChoose: () => void;
}

function Count({ words, count, on, onChoose }: CountProps) {
  return (
    <button type="button" className={styles.count} aria-pressed={on} onClick={onChoose}>
      {words} <span className={styles.number}>{count}</span>
    </button>
  );
}
