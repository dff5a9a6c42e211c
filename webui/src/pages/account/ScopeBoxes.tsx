import { useId } from "react";
import styles from "./Account.module.css";
import { SCOPE_ORDER, SCOPES, type Scope } from "./scope-words";

export interface ScopeBoxesProps {
  chosen: readonly Scope[];
  onChoose: (scopes: readonly Scope[]) => void;
  /** Only an admin's token may have the last one. */
  isAdmin: boolean;
  error: string | undefined;
}

/** What the token may do. */
export function ScopeBoxes({ chosen, onChoose, isAdmin, error }: ScopeBoxesProps) {
  const id = useId();
  const toggle = (scope: Scope) =>
    onChoose(chosen.includes(scope) ? chosen.filter((one) => one !== scope) : [...chosen, scope]);
  return (
    <fieldset className={styles.scopes}>
      <legend>It may</legend>
      {SCOPE_ORDER.filter((scope) => scope !== "admin" || isAdmin).map((scope) => (
        <label key={scope} className={styles.scope}>
          <input
            type="checkbox"
            checked={chosen.includes(scope)}
            onChange={() => toggle(scope)}
            aria-labelledby={`${id}-${scope}`}
            aria-describedby={`${id}-${scope}-what`}
          />
          <span>
            <span id={`${id}-${scope}`} className={styles.scopeName}>
              {SCOPES[scope].name}
            </span>
            <span id={`${id}-${scope}-what`} className={styles.scopeWhat}>
              {SCOPES[scope].what}
            </span>
          </span>
        </label>
      ))}
      {error !== undefined && (
        <p className={styles.error} role="alert">
          {error}
        </p>
      )}
    </fieldset>
  );
}
