import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { wordsOf } from "@/api/errors";
import { adminWorkspacesQuery, auditQuery } from "@/api/queries";
import type { AuditEntry } from "@/api/schema.gen";
import { Ago } from "@/ui/Ago";
import { Button } from "@/ui/Button";
import { type Column, DataTable } from "@/ui/DataTable";
import { Empty } from "@/ui/Empty";
import { Loaded } from "@/ui/Loaded";
import { Notice } from "@/ui/Notice";
import { AdminPage } from "./AdminPage";
import styles from "./Audit.module.css";
import { AuditFilters } from "./AuditFilters";
import { notesOf, sentenceOf } from "./audit-words";
import { useOlder } from "./older";

export default function Audit() {
  return (
    <AdminPage title="Audit log">
      <List />
    </AdminPage>
  );
}

function List() {
  const filter = useSearch({ from: "/signed-in/admin/audit" });
  const navigate = useNavigate({ from: "/admin/audit" });
  const query = useInfiniteQuery(auditQuery(filter));
  const older = useOlder(query, JSON.stringify(filter));
  const names = new Map(useQuery(adminWorkspacesQuery).data?.map((one) => [one.id, one.name]));
  const choose = (change: typeof filter) =>
    void navigate({ search: (before) => ({ ...before, ...change }), replace: true });
  const columns: Column<AuditEntry>[] = [
    {
      title: "What happened",
      kind: "main",
      cell: (entry) => (
        <Happened
          entry={entry}
          workspaceName={entry.workspaceId === null ? undefined : names.get(entry.workspaceId)}
          onActor={(actor) => choose({ actor })}
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
    <>
      <AuditFilters filter={filter} onFilter={choose} />
      <Loaded query={query} what="the audit log">
        {({ pages }) => {
          const entries = pages.flatMap((page) => page.entries);
          if (entries.length === 0)
            return <NoEntries onClear={() => void navigate({ search: {}, replace: true })} />;
          return (
            <>
              <DataTable
                label="Audit log"
                columns={columns}
                rows={entries}
                rowKey={(entry) => String(entry.id)}
              />
              {query.isFetchNextPageError && query.error && (
                <Notice tone="bad">{wordsOf(query.error)}</Notice>
              )}
              {query.hasNextPage ? (
                <div>
                  <Button pending={older.pending} onClick={older.load}>
                    Load older
                  </Button>
                </div>
              ) : (
                <p className="quiet">These are all. Entries are kept for a year.</p>
              )}
            </>
          );
        }}
      </Loaded>
    </>
  );
}

/** The sentence; whoever acted leads to all that they did. */
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
