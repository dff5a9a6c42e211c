import { useQuery } from "@tanstack/react-query";
import { type FormEvent, useEffect, useEffectEvent, useId, useState } from "react";
import { adminUsersQuery } from "@/api/queries";
import { SelectField, TextField } from "@/ui/Field";
import styles from "./Audit.module.css";
import { ACTIONS, KINDS, kindOf } from "./audit-words";
import type { AuditSearch } from "./search";

interface AuditFiltersProps {
  filter: AuditSearch;
  onFilter: (change: AuditSearch) => void;
}

/** Of which user, and of what kind. */
export function AuditFilters({ filter, onFilter }: AuditFiltersProps) {
  return (
    <div className={styles.filters}>
      <ActorFilter actor={filter.actor ?? ""} onChoose={(actor) => onFilter({ actor })} />
      <SelectField
        label="What happened"
        value={filter.action ?? ""}
        onChange={(event) => onFilter({ action: event.target.value })}
      >
        <option value="">Everything</option>
        {Object.entries(KINDS).map(([kind, title]) => (
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
    </div>
  );
}

/** A whole name is needed, so it is looked for once it is one: chosen from the list, or by Enter, or on leaving. */
function ActorFilter({ actor, onChoose }: { actor: string; onChoose: (actor: string) => void }) {
  const list = useId();
  const users = useQuery(adminUsersQuery).data ?? [];
  const [typed, setTyped] = useState(actor);
  useEffect(() => setTyped(actor), [actor]);
  const isWhole = (text: string) => users.some((user) => user.username === text);
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
          <option key={user.id} value={user.username} />
        ))}
      </datalist>
    </form>
  );
}
