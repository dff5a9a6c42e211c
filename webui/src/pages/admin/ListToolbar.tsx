import { TextField } from "@/ui/Field";
import styles from "./Admin.module.css";
import type { ListSearch } from "./search";

interface ListToolbarProps {
  /** "name or e-mail address". */
  by: string;
  search: ListSearch;
  onSearch: (search: ListSearch) => void;
  /** "3 users", once it is known. */
  count: string | undefined;
}

/** A box to search in, and how many it found. */
export function ListToolbar({ by, search, onSearch, count }: ListToolbarProps) {
  return (
    <div className={styles.toolbar}>
      <div className={styles.search}>
        <TextField
          label={`Filter by ${by}`}
          hideLabel
          placeholder="Filter"
          type="search"
          autoComplete="off"
          spellCheck={false}
          value={search.q ?? ""}
          onChange={(event) => onSearch({ q: event.target.value })}
        />
      </div>
      <p className={styles.count} role="status">
        {count}
      </p>
    </div>
  );
}
