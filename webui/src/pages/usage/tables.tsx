import { Link } from "@tanstack/react-router";
import { useState } from "react";
import type { Tokens, UsageDay } from "@/api/schema.gen";
import { dayWords } from "@/lib/days";
import { exactNumber } from "@/lib/numbers";
import { Badge } from "@/ui/Badge";
import { Button } from "@/ui/Button";
import { type Column, DataTable } from "@/ui/DataTable";
import type { Look } from "./looks";
import { MEASURE_NAMES, MEASURES } from "./measures";
import type { Period } from "./period";
import { Swatch } from "./Swatch";
import { byDayAndModel, type DayModel, type Sum } from "./sums";
import styles from "./Usage.module.css";

type Looks = ReadonlyMap<string, Look>;

/** The last days are looked at; a whole year is looked up. */
const FIRST_ROWS = 20;

const NUMBERS: readonly Column<Tokens>[] = MEASURE_NAMES.map((measure) => ({
  title: MEASURES[measure].title,
  kind: "number",
  cell: (row) => exactNumber(row[measure]),
}));

function Model({ model, looks }: { model: string; looks: Looks }) {
  const look = looks.get(model);
  return (
    <span className={styles.row}>
      {look && <Swatch look={look} />}
      <span>{model}</span>
    </span>
  );
}

export function ModelTable({ sums, looks }: { sums: readonly Sum[]; looks: Looks }) {
  return (
    <DataTable
      label="Usage by model"
      rows={sums}
      rowKey={(row) => row.key}
      columns={[
        { title: "Model", kind: "main", cell: (row) => <Model model={row.key} looks={looks} /> },
        ...NUMBERS,
      ]}
    />
  );
}

export function SandboxTable({
  sums,
  names,
}: {
  sums: readonly Sum[];
  names: ReadonlyMap<string, string> | undefined;
}) {
  return (
    <DataTable
      label="Usage by sandbox"
      rows={sums}
      rowKey={(row) => row.key}
      columns={[
        { title: "Sandbox", kind: "main", cell: (row) => <SandboxName id={row.key} names={names} /> },
        ...NUMBERS,
      ]}
    />
  );
}

/** Its name, with a link; of one that is gone, its id. */
function SandboxName({ id, names }: { id: string; names: ReadonlyMap<string, string> | undefined }) {
  const name = names?.get(id);
  if (name !== undefined) {
    return (
      <Link to="/sandboxes/$sandboxId/usage" params={{ sandboxId: id }}>
        {name}
      </Link>
    );
  }
  return (
    <span className={styles.row}>
      <code>{id}</code>
      {names !== undefined && <Badge>deleted</Badge>}
    </span>
  );
}

interface DayTableProps {
  days: readonly UsageDay[];
  period: Period;
  models: readonly string[];
  looks: Looks;
}

export function DayTable({ days, period, models, looks }: DayTableProps) {
  const [all, setAll] = useState(false);
  const rows = byDayAndModel(days, period, models);
  return (
    <>
      <DataTable<DayModel>
        label="Usage by day and model"
        rows={all ? rows : rows.slice(0, FIRST_ROWS)}
        rowKey={(row) => `${row.day} ${row.model ?? ""}`}
        columns={[
          {
            title: "Day",
            kind: "main",
            cell: (row) => <time dateTime={row.day}>{dayWords(row.day)}</time>,
          },
          {
            title: "Model",
            cell: (row) =>
              row.model === null ? (
                <span className="quiet">no calls</span>
              ) : (
                <Model model={row.model} looks={looks} />
              ),
          },
          ...NUMBERS,
        ]}
      />
      {!all && rows.length > FIRST_ROWS && (
        <div>
          <Button onClick={() => setAll(true)}>Show all {rows.length} rows</Button>
        </div>
      )}
    </>
  );
}
