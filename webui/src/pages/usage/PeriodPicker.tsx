import { type FormEvent, useEffect, useState } from "react";
import { Button } from "@/ui/Button";
import { TextField } from "@/ui/Field";
import { Segmented } from "@/ui/Segmented";
import { type Period, periodProblems, SPANS, spanOf, type UsageSearch } from "./period";
import styles from "./Usage.module.css";

const OPTIONS = [
  ...SPANS.map((span) => ({ value: String(span), label: `${span} days` })),
  { value: "own", label: "From – to" },
];

interface PeriodPickerProps {
  search: UsageSearch;
  period: Period;
  onSearch: (search: UsageSearch) => void;
}

/** The last days, so many, or a first and a last one. */
export function PeriodPicker({ search, period, onSearch }: PeriodPickerProps) {
  const span = spanOf(search);
  const choose = (value: string) => {
    const { days: _days, from: _from, to: _to, ...rest } = search;
    const chosen = SPANS.find((one) => String(one) === value);
    onSearch(chosen === undefined ? { ...rest, ...period } : { ...rest, days: chosen });
  };
  return (
    <div className={styles.picker}>
      <Segmented
        label="Period"
        options={OPTIONS}
        value={span === null ? "own" : String(span)}
        onChange={choose}
      />
      {span === null && <OwnPeriod period={period} onChoose={(own) => onSearch({ ...search, ...own })} />}
    </div>
  );
}

function OwnPeriod({ period, onChoose }: { period: Period; onChoose: (period: Period) => void }) {
  const [typed, setTyped] = useState(period);
  const [problems, setProblems] = useState<Partial<Period> | null>(null);
  const { from, to } = period;
  // The address bar may change by other means: back, forward.
  useEffect(() => setTyped({ from, to }), [from, to]);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const found = periodProblems(typed);
    setProblems(found);
    if (found === null) onChoose(typed);
  };
  return (
    <form className={styles.own} onSubmit={submit} noValidate>
      <TextField
        label="First day (UTC)"
        hideLabel
        type="date"
        value={typed.from}
        error={problems?.from}
        onChange={(event) => setTyped({ ...typed, from: event.target.value })}
      />
      <TextField
        label="Last day (UTC)"
        hideLabel
        type="date"
        value={typed.to}
        error={problems?.to}
        onChange={(event) => setTyped({ ...typed, to: event.target.value })}
      />
      <Button type="submit">Show</Button>
    </form>
  );
}
