import { Download } from "lucide-react";
import type { UsageDay } from "@/api/schema.gen";
import { fileName } from "@/lib/csv";
import { download } from "@/lib/download";
import { Button } from "@/ui/Button";
import { usageCsv } from "./file";
import type { Period } from "./period";

interface SaveCsvProps {
  name: string;
  period: Period;
  days: readonly UsageDay[];
  bySandbox: boolean;
  sandboxNames: ReadonlyMap<string, string> | undefined;
}

/** All models of the period that is shown, as a file. */
export function SaveCsv({ name, period, days, bySandbox, sandboxNames }: SaveCsvProps) {
  const save = () =>
    download(
      `${fileName("usage", name, period.from, period.to)}.csv`,
      "text/csv;charset=utf-8",
      usageCsv(days, bySandbox, sandboxNames),
    );
  return (
    <Button icon={<Download aria-hidden="true" />} onClick={save}>
      Download CSV
    </Button>
  );
}
