import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { tokensQuery } from "@/api/queries";
import type { Token } from "@/api/schema.gen";
import { Ago } from "@/ui/Ago";
import { Button } from "@/ui/Button";
import { type Column, DataTable } from "@/ui/DataTable";
import { Empty } from "@/ui/Empty";
import { Left } from "@/ui/Left";
import { Loaded } from "@/ui/Loaded";
import { AccountPage } from "./AccountPage";
import { CreateToken } from "./CreateToken";
import { RevokeTokenDialog } from "./RevokeTokenDialog";
import { scopeNames } from "./scope-words";

export default function Tokens() {
  const query = useQuery(tokensQuery);
  const [making, setMaking] = useState(false);
  const button = (
    <Button kind="primary" onClick={() => setMaking(true)}>
      New token
    </Button>
  );
  const any = (query.data?.length ?? 0) > 0;
  return (
    <AccountPage title="API tokens" actions={any && button}>
      <p className="quiet">
        A token lets a script or another program use the API as you, as far as its scopes go and until it
        expires. Whoever has it can do so, too.
      </p>
      <Loaded query={query} what="your tokens">
        {(tokens) =>
          tokens.length === 0 ? (
            <Empty title="You have no tokens" action={button}>
              One for each program that needs it is easy to tell apart, and to revoke alone.
            </Empty>
          ) : (
            <List tokens={tokens} />
          )
        }
      </Loaded>
      {making && <CreateToken onClose={() => setMaking(false)} />}
    </AccountPage>
  );
}

function List({ tokens }: { tokens: readonly Token[] }) {
  // Not the row's own: what takes the row away would take its dialog with it.
  const [going, setGoing] = useState<Token>();
  const columns: Column<Token>[] = [
    { title: "Name", kind: "main", cell: (token) => token.name },
    { title: "Scopes", kind: "short", cell: (token) => scopeNames(token.scopes) },
    {
      title: "Last used",
      kind: "short",
      cell: ({ lastUsedAt }) => (lastUsedAt === null ? "never" : <Ago time={lastUsedAt} />),
    },
    { title: "Expires", kind: "short", cell: (token) => <Left until={token.expiresAt} /> },
    {
      title: "What can be done",
      kind: "actions",
      cell: (token) => (
        <Button size="small" aria-label={`Revoke ${token.name}`} onClick={() => setGoing(token)}>
          Revoke
        </Button>
      ),
    },
  ];
  return (
    <>
      <DataTable label="API tokens" columns={columns} rows={tokens} rowKey={(token) => token.id} />
      {going && <RevokeTokenDialog token={going} onClose={() => setGoing(undefined)} />}
    </>
  );
}
