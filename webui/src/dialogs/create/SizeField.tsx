import { SelectField, TextField } from "@/ui/Field";
import styles from "./Fields.module.css";
import { type Limits, sizes } from "./sizes";
import { OWN, type Wanted } from "./wanted";

export interface SizeFieldProps {
  wanted: Wanted;
  change: (part: Partial<Wanted>) => void;
  limits: Limits;
  backend: string;
  fault: (field: "cpu" | "memory") => string | undefined;
}

/** How much of the server's machine it may use. */
export function SizeField({ wanted, change, limits, backend, fault }: SizeFieldProps) {
  // The backend `process` keeps nobody to a size; a hint that said otherwise would be a lie.
  const hint =
    backend === "process"
      ? "This server does not enforce sizes: its sandboxes share the machine."
      : "The most that it may use; what it does not use is free for others.";
  return (
    <>
      <SelectField
        label="Size"
        value={wanted.size}
        onChange={(event) => change({ size: event.target.value })}
        hint={hint}
      >
        {sizes(limits).map(({ name, words }, index) => (
          <option key={name} value={index === 0 ? "" : name}>
            {words}
          </option>
        ))}
        <option value={OWN}>Own values</option>
      </SelectField>
      {wanted.size === OWN && (
        <div className={styles.pair}>
          <TextField
            label="Processor cores"
            value={wanted.cpu}
            onChange={(event) => change({ cpu: event.target.value })}
            error={fault("cpu")}
            hint={`Such as 0.5; up to ${limits.cpu}.`}
            placeholder={limits.cpu}
            autoComplete="off"
          />
          <TextField
            label="Memory"
            value={wanted.memory}
            onChange={(event) => change({ memory: event.target.value })}
            error={fault("memory")}
            hint={`Such as 1Gi; up to ${limits.memory}.`}
            placeholder={limits.memory}
            autoComplete="off"
          />
        </div>
      )}
    </>
  );
}
