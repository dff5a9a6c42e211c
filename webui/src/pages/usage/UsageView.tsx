import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useId } from "react";
import { type UsageOf, usageQuery } from "@/api/queries";
import { dayWords, useToday } from "@/lib/days";
import { Empty } from "@/ui/Empty";
import { Loaded } from "@/ui/Loaded";
import { ChartCard } from "./ChartCard";
import { looksOf } from "./looks";
import type { Measure } from "./measures";
import { PeriodPicker } from "./PeriodPicker";
import { type Period, periodOf, type UsageSearch } from "./period";
import { SaveCsv } from "./SaveCsv";
import { sumsBy, total } from "./sums";
import { Tiles } from "./Tiles";
import { DayTable, ModelTable, SandboxTable } from "./tables";
import styles from "./Usage.module.css";
import "./series.css";

export interface UsageViewProps {
  of: UsageOf;
  /** For the file's name. */
  name: string;
  search: UsageSearch;
  onSearch: (search: UsageSearch) => void;
  /** The names of the workspace's sandboxes; `undefined` as long as they are not known. */
  sandboxNames?: ReadonlyMap<string, string> | undefined;
}

/** What a workspace or a sandbox used: a chart, the exact numbers below it, and a file with them. */
export function UsageView({ of, name, search, onSearch, sandboxNames }: UsageViewProps) {
  const period = periodOf(search, useToday());
  const query = useQuery(usageQuery(of, period.from, period.to));
  const measure: Measure = search.measure ?? "requests";
  const without = new Set(search.without);
  const choose = (change: Partial<UsageSearch>) => onSearch({ ...search, ...change });
  const toggle = (model: string) => {
    const left = without.has(model) ? [...without].filter((one) => one !== model) : [...without, model];
    choose({ without: left });
  };
  return (
    <>
      <div className={styles.toolbar}>
        <PeriodPicker search={search} period={period} onSearch={onSearch} />
        {query.data !== undefined && query.data.days.length > 0 && (
          <SaveCsv name={name} {...query.data} bySandbox={"workspaceId" in of} sandboxNames={sandboxNames} />
        )}
      </div>
      <Loaded query={query} what="the usage">
        {({ period: shown, days }) => {
          if (days.length === 0) return <NoUsage of={of} period={shown} />;
          const models = sumsBy(days, (row) => row.model, measure);
          const looks = looksOf(models.map((model) => model.key));
          const visible = models.map((model) => model.key).filter((model) => !without.has(model));
          return (
            <div
              className={`${styles.content} ${query.isPlaceholderData ? styles.old : ""}`}
              aria-busy={query.isPlaceholderData}
            >
              <Tiles
                sums={total(days)}
                measure={measure}
                onChoose={(chosen) => choose({ measure: chosen })}
              />
              <ChartCard
                days={days}
                period={shown}
                measure={measure}
                models={models}
                visible={visible}
                looks={looks}
                onToggle={toggle}
                onShowAll={() => choose({ without: [] })}
              />
              <Numbers title="By model">
                <ModelTable sums={models} looks={looks} />
              </Numbers>
              {"workspaceId" in of && (
                <Numbers title="By sandbox">
                  <SandboxTable
                    sums={sumsBy(days, (row) => row.sandboxId ?? "", measure)}
                    names={sandboxNames}
                  />
                </Numbers>
              )}
              <Numbers
                title="By day and model"
                note={
                  visible.length < models.length
                    ? `${visible.length} of ${models.length} models, as chosen in the chart. Days are in UTC.`
                    : "Days are in UTC."
                }
              >
                <DayTable days={days} period={shown} models={visible} looks={looks} />
              </Numbers>
            </div>
          );
        }}
      </Loaded>
    </>
  );
}

function Numbers({ title, note, children }: { title: string; note?: string; children: ReactNode }) {
  const id = useId();
  return (
    <section className={styles.numbers} aria-labelledby={id}>
      <h2 id={id}>{title}</h2>
      {note !== undefined && <p className="quiet">{note}</p>}
      {children}
    </section>
  );
}

function NoUsage({ of, period }: { of: UsageOf; period: Period }) {
  const whose = "workspaceId" in of ? "this workspace’s sandboxes" : "this sandbox";
  return (
    <Empty title={`No LLM calls from ${dayWords(period.from)} to ${dayWords(period.to)}`}>
      What {whose} asked of a model through this server is counted here, by day (UTC) and model. Open a
      sandbox and give its agent something to do: the first call shows within half a minute. A connected
      machine that uses a key of its own does not go through this server, so its calls are not counted.
    </Empty>
  );
}
