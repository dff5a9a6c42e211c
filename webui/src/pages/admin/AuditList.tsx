import type { InfiniteData, UseInfiniteQueryResult } from "@tanstack/react-query";
import { wordsOf } from "@/api/errors";
import type { AuditEntry, AuditPage } from "@/api/schema.gen";
import { Ago } from "@/ui/Ago";
import { Badge } from "@/ui/Badge";
import { Button } from "@/ui/Button";
import { type Column, DataTable } from "@/ui/DataTable";
import { Empty } from "@/ui/Empty";
import { Loaded } from "@/ui/Loaded";
import { Notice } from "@/ui/Notice";
import styles from "./Audit.module.css";
import { notesOf, sentenceOf } from "./audit-words";
import { useOlder } from "./older";
import type { AuditSearch } from "./search";

export interface AuditListProps {
  query: UseInfiniteQueryResult<InfiniteData<AuditPage>>;
  filter: AuditSearch;
  /** The name of an entry's workspace, if it is known. */
  nameOf: (workspaceId: string) => string | undefined;
  onActor: (actor: string) => void;
  onClear: () => void;
}

/** Entries of the audit log, page by page. */
export function AuditList({ query, filter, nameOf, onActor, onClear }: AuditListProps) {
  const older = useOlder(query, JSON.stringify(filter));
  const columns: Column<AuditEntry>[] = [
    {
      title: "What happened",
      kind: "main",
      cell: (entry) => (
        <Happened
          entry={entry}
          workspaceName={entry.workspaceId === null ? undefined : nameOf(entry.workspaceId)}
          onActor={onActor}
        />
      ),
    },
    { title: "When", kind: "short", cell: (entry) => <Ago time={entry.at} /> },
    {
      title: "From",
      kind: "short",
      cell: (entry) =>
        entry.ip === "" ? <span className="quiet">the server</span> : <code>{entry.ip}</code>,
    },
  ];
  return (
    <Loaded query={query} what="the audit log">
      {({ pages }) => {
        const entries = pages.flatMap((page) => page.entries);
        if (entries.length === 0) return <NoEntries onClear={onClear} />;
        return (
          <>
            <DataTable
              label="Audit log"
              columns={columns}
              rows={entries}
              rowKey={(entry) => String(entry.id)}
            />
            {query.isFetchNextPageError && query.error && <Notice tone="bad">{wordsOf(query.error)}</Notice>}
            {query.hasNextPage ? (
              <div>
                <Button pending={older.pending} onClick={older.load}>
                  Load older
                </Button>
              </div>
            ) : (
              <p className="quiet">These are all that are kept.</p>
            )}
          </>
        );
      }}
    </Loaded>
  );
}

/** The sentence, and how it ended if not well; whoever acted leads to all that they did. */
function Happened({
  entry,
  workspaceName,
  onActor,
}: {
  entry: AuditEntry;
  workspaceName: string | undefined;
  onActor: (actor: string) => void;
}) {
  const notes = notesOf(entry);
  return (
    <>
      {sentenceOf(entry, workspaceName).map(({ text, is }, index) => {
        const key = index; // the pieces of a sentence have no other name
        if (is === "name") return <strong key={key}>{text}</strong>;
        if (is === undefined) return <span key={key}>{text}</span>;
        return (
          <button
            key={key}
            type="button"
            className={styles.actor}
            title={`Show only what ${text} did`}
            onClick={() => onActor(text)}
          >
            {text}
          </button>
        );
      })}
      {entry.outcome !== "done" && (
        <span className={styles.outcome}>
          <Badge tone="bad">{entry.outcome}</Badge>
        </span>
      )}
      {notes.length > 0 && <div className={styles.notes}>{notes.join(" · ")}</div>}
    </>
  );
}

function NoEntries({ onClear }: { onClear: () => void }) {
  return (
    <Empty title="No entry matches" action={<Button onClick={onClear}>Show all</Button>}>
      A user is matched by the whole user name, as it was then, or by their id.
    </Empty>
  );
}
