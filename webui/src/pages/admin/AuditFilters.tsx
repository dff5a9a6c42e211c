import { type FormEvent, useEffect, useEffectEvent, useId, useState } from "react";
import { SelectField, TextField } from "@/ui/Field";
import styles from "./Audit.module.css";
import { ACTIONS, kindOf, OUTCOMES } from "./audit-words";
import type { AuditSearch } from "./search";

interface AuditFiltersProps {
  filter: AuditSearch;
  /** The names to choose from; others can be typed. */
  users: readonly string[];
  /** The kinds of what can have happened, and their titles. */
  kinds: Readonly<Record<string, string>>;
  onFilter: (change: AuditSearch) => void;
}

/** Of which user, of what kind, and how it ended. */
export function AuditFilters({ filter, users, kinds, onFilter }: AuditFiltersProps) {
  return (
    <div className={styles.filters}>
      <ActorFilter actor={filter.actor ?? ""} users={users} onChoose={(actor) => onFilter({ actor })} />
      <SelectField
        label="What happened"
        value={filter.action ?? ""}
        onChange={(event) => onFilter({ action: event.target.value })}
      >
        <option value="">Everything</option>
        {Object.entries(kinds).map(([kind, title]) => (
          <optgroup key={kind} label={title}>
            <option value={kind}>{title}: all</option>
            {Object.entries(ACTIONS)
              .filter(([action]) => kindOf(action) === kind)
              .map(([action, { name }]) => (
                <option key={action} value={action}>
                  {name}
                </option>
              ))}
          </optgroup>
        ))}
      </SelectField>
      <SelectField
        label="How it ended"
        value={filter.outcome ?? ""}
        onChange={(event) => onFilter({ outcome: event.target.value })}
      >
        <option value="">In any way</option>
        {Object.entries(OUTCOMES).map(([outcome, words]) => (
          <option key={outcome} value={outcome}>
            {words}
          </option>
        ))}
      </SelectField>
    </div>
  );
}

interface ActorFilterProps {
  actor: string;
  users: readonly string[];
  onChoose: (actor: string) => void;
}

/** A whole name is needed, so it is looked for once it is one: chosen from the list, or by Enter, or on leaving. */
function ActorFilter({ actor, users, onChoose }: ActorFilterProps) {
  const list = useId();
  const [typed, setTyped] = useState(actor);
  useEffect(() => setTyped(actor), [actor]);
  const isWhole = (text: string) => users.includes(text);
  const take = (text: string) => {
    setTyped(text);
    if (text === "" || isWhole(text)) onChoose(text);
  };
  // Somebody types faster than the list comes.
  const whole = isWhole(typed);
  const takeLate = useEffectEvent(() => {
    if (typed !== actor) onChoose(typed);
  });
  useEffect(() => {
    if (whole) takeLate();
  }, [whole]);
  const choose = () => {
    if (typed.trim() !== actor) onChoose(typed.trim());
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    choose();
  };
  return (
    <form onSubmit={submit}>
      <TextField
        label="Who"
        type="search"
        placeholder="Everybody"
        list={list}
        autoComplete="off"
        spellCheck={false}
        value={typed}
        onChange={(event) => take(event.target.value)}
        onBlur={choose}
      />
      <datalist id={list}>
        {users.map((user) => (
          <option key={user} value={user} />
        ))}
      </datalist>
    </form>
  );
}
