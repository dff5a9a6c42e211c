import { type InputHTMLAttributes, type ReactNode, type Ref, type SelectHTMLAttributes, useId } from "react";
import styles from "./Field.module.css";

interface FieldProps {
  label: string;
  hint?: ReactNode;
  /** What is wrong with what was typed. */
  error?: string | undefined;
  /** The label is for those who do not see the field's surroundings. */
  hideLabel?: boolean;
}

interface Described {
  id: string;
  "aria-describedby"?: string;
  "aria-invalid"?: true;
}

function Field(props: FieldProps & { children: (described: Described) => ReactNode }) {
  const id = useId();
  const { label, hint, error, hideLabel = false, children } = props;
  const notes = [!hint ? "" : `${id}-hint`, error === undefined ? "" : `${id}-error`];
  const describedBy = notes.filter(Boolean).join(" ");
  return (
    <div className={styles.field}>
      <label htmlFor={id} className={hideLabel ? "off-screen" : styles.label}>
        {label}
      </label>
      {children({
        id,
        ...(describedBy !== "" && { "aria-describedby": describedBy }),
        ...(error !== undefined && { "aria-invalid": true as const }),
      })}
      {error !== undefined && (
        <p id={`${id}-error`} className={styles.error}>
          {error}
        </p>
      )}
      {hint && (
        <p id={`${id}-hint`} className={styles.hint}>
          {hint}
        </p>
      )}
    </div>
  );
}

export interface TextFieldProps extends FieldProps, InputHTMLAttributes<HTMLInputElement> {
  mono?: boolean;
  /** A small button at the end of the line. */
  end?: ReactNode;
  ref?: Ref<HTMLInputElement>;
}

export function TextField({ label, hint, error, hideLabel, mono = false, end, ...input }: TextFieldProps) {
  return (
    <Field
      label={label}
      {...(hint !== undefined && { hint })}
      error={error}
      {...(hideLabel && { hideLabel })}
    >
      {(described) => (
        <span className={styles.line}>
          <input
            {...input}
            {...described}
            className={`${styles.input} ${mono ? "mono" : ""} ${end === undefined ? "" : styles.before}`}
          />
          {end !== undefined && <span className={styles.end}>{end}</span>}
        </span>
      )}
    </Field>
  );
}

export interface SelectFieldProps extends FieldProps, SelectHTMLAttributes<HTMLSelectElement> {
  ref?: Ref<HTMLSelectElement>;
}

/** The browser's own list: it is the one that works everywhere. */
export function SelectField({ label, hint, error, hideLabel, children, ...select }: SelectFieldProps) {
  return (
    <Field
      label={label}
      {...(hint !== undefined && { hint })}
      error={error}
      {...(hideLabel && { hideLabel })}
    >
      {(described) => (
        <select {...select} {...described} className={styles.input}>
          {children}
        </select>
      )}
    </Field>
  );
}
