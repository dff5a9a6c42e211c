import { ChevronDown, ChevronUp } from "lucide-react";
import type { KeyboardEvent } from "react";
import { IconButton } from "@/ui/Button";
import { TextField } from "@/ui/Field";
import styles from "./LogPanel.module.css";
import { type Found, type Match, placeOf, step } from "./search";

export interface SearchBoxProps {
  query: string;
  found: Found;
  current: Match | null;
  onQuery: (query: string) => void;
  onGo: (match: Match | null) => void;
}

/** Search in what is shown: Enter goes on, Shift+Enter goes back, Escape clears it. */
export function SearchBox({ query, found, current, onQuery, onGo }: SearchBoxProps) {
  const go = (by: 1 | -1) => onGo(step(found.matches, current, by));
  const take = (event: KeyboardEvent) => {
    if (event.key === "Escape") onQuery("");
    else if (event.key === "Enter") go(event.shiftKey ? -1 : 1);
    else return;
    event.preventDefault();
  };
  const none = found.matches.length === 0;
  return (
    <search className={styles.search}>
      <TextField
        label="Search in the log"
        hideLabel
        type="search"
        placeholder="Search in the log"
        autoComplete="off"
        spellCheck={false}
        value={query}
        onChange={(event) => onQuery(event.target.value)}
        onKeyDown={take}
      />
      <IconButton label="Previous match" size="small" disabled={none} onClick={() => go(-1)}>
        <ChevronUp aria-hidden="true" />
      </IconButton>
      <IconButton label="Next match" size="small" disabled={none} onClick={() => go(1)}>
        <ChevronDown aria-hidden="true" />
      </IconButton>
      <span role="status" className={styles.count}>
        {query !== "" && countWords(found, current)}
      </span>
    </search>
  );
}

function countWords({ matches, more }: Found, current: Match | null): string {
  if (matches.length === 0) return "No match";
  const count = `${matches.length.toLocaleString()}${more ? "+" : ""}`;
  const place = current === null ? -1 : placeOf(matches, current);
  if (place === -1) return matches.length === 1 ? "1 match" : `${count} matches`;
  return `${(place + 1).toLocaleString()} of ${count}`;
}
