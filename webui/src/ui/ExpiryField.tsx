import { SelectField } from "@/ui/Field";

export interface ExpiryFieldProps {
  /** What there is to choose: as the API takes it, and in words. */
  lifetimes: readonly (readonly [string, string])[];
  value: string;
  onChange: (value: string) => void;
  error?: string | undefined;
}

/** How long something that is made is good for. */
export function ExpiryField({ lifetimes, value, onChange, error }: ExpiryFieldProps) {
  return (
    <SelectField
      label="Expires after"
      value={value}
      onChange={(event) => onChange(event.target.value)}
      error={error}
    >
      {lifetimes.map(([lifetime, label]) => (
        <option key={lifetime} value={lifetime}>
          {label}
        </option>
      ))}
    </SelectField>
  );
}
