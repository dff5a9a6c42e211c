import { durationWords } from "@/lib/time";
import { SelectField, TextField } from "@/ui/Field";
import { OWN, type Wanted } from "./wanted";

type Timeout = Pick<Wanted, "timeout" | "ownTimeout">;

export interface TimeoutFieldProps {
  wanted: Timeout;
  change: (part: Partial<Timeout>) => void;
  /** The server's own, as it writes it. */
  servers: string;
  error: string | undefined;
}

export const CHOICES = [
  ["15m", "After 15 min"],
  ["1h", "After 1 h"],
  ["4h", "After 4 h"],
  ["0", "Never"],
] as const;

/** After how long without use it is paused. */
export function TimeoutField({ wanted, change, servers, error }: TimeoutFieldProps) {
  const isOwn = wanted.timeout === OWN;
  const words = durationWords(servers);
  return (
    <>
      <SelectField
        label="Pause when idle"
        value={wanted.timeout}
        onChange={(event) => change({ timeout: event.target.value })}
        error={isOwn ? undefined : error}
        hint="Idle is when nobody uses it and its agent does not work. Pausing keeps its files, and opening it resumes it."
      >
        <option value="">{words === "never" ? "Never (default)" : `After ${words} (default)`}</option>
        {CHOICES.map(([value, label]) => (
          <option key={value} value={value}>
            {label}
          </option>
        ))}
        <option value={OWN}>Own time</option>
      </SelectField>
      {isOwn && (
        <TextField
          label="Own time"
          value={wanted.ownTimeout}
          onChange={(event) => change({ ownTimeout: event.target.value })}
          error={error}
          hint="Such as 90m, 1h30m or 2d."
          autoComplete="off"
          required
        />
      )}
    </>
  );
}
