import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { wordsOf } from "@/api/errors";
import { useLink } from "@/api/identity-acts";
import { identitiesQuery, providersQuery } from "@/api/queries";
import type { Identity, Provider } from "@/api/schema.gen";
import { Ago } from "@/ui/Ago";
import { Button } from "@/ui/Button";
import { Loaded } from "@/ui/Loaded";
import { Notice } from "@/ui/Notice";
import { Section } from "@/ui/Page";
import styles from "./Account.module.css";
import { AccountPage } from "./AccountPage";
import { UnlinkDialog } from "./UnlinkDialog";

export default function Identities() {
  const identities = useQuery(identitiesQuery);
  const providers = useQuery(providersQuery).data?.providers ?? [];
  return (
    <AccountPage title="How you sign in">
      <p className="quiet">
        Accounts elsewhere that sign you in here, without this server's password. Only you can link one, while
        you are signed in.
      </p>
      <Loaded query={identities} what="your linked accounts">
        {(list) => <Linked list={list} providers={providers} />}
      </Loaded>
      {providers.length > 0 && <Link providers={providers} />}
    </AccountPage>
  );
}

function Linked({ list, providers }: { list: readonly Identity[]; providers: readonly Provider[] }) {
  // Not the row's own: what takes the row away would take its dialog with it.
  const [going, setGoing] = useState<Identity>();
  return (
    <>
      {list.length === 0 ? (
        <p className={styles.none}>
          {providers.length === 0
            ? "No account is linked, and this server knows no provider to link one of. You sign in with your password."
            : "No account is linked. You sign in with your password."}
        </p>
      ) : (
        <ul className={styles.list}>
          {list.map((identity) => (
            <Row key={identity.id} identity={identity} onGoing={() => setGoing(identity)} />
          ))}
        </ul>
      )}
      {going && <UnlinkDialog identity={going} onClose={() => setGoing(undefined)} />}
    </>
  );
}

function Row({ identity, onGoing }: { identity: Identity; onGoing: () => void }) {
  const { providerName, username, email, createdAt, lastUsedAt } = identity;
  const name = username ?? email;
  return (
    <li className={styles.item}>
      <div className={styles.what}>
        <div className={styles.name}>
          <span>{providerName}</span>
          {name !== null && <span className={styles.as}>{name}</span>}
        </div>
        <div className={styles.facts}>
          {email !== null && email !== name && <span>{email}</span>}
          <span>
            linked <Ago time={createdAt} />
          </span>
          <span>
            last used <Ago time={lastUsedAt} />
          </span>
        </div>
      </div>
      <Button
        size="small"
        aria-label={`Unlink ${providerName}${name === null ? "" : ` ${name}`}`}
        onClick={onGoing}
      >
        Unlink
      </Button>
    </li>
  );
}

function Link({ providers }: { providers: readonly Provider[] }) {
  const link = useLink("/account/sign-in");
  return (
    <Section title="Link another account">
      {link.error && <Notice tone="bad">{wordsOf(link.error)}</Notice>}
      <div className={styles.providers}>
        {providers.map(({ id, name }) => (
          <Button
            key={id}
            // The page stays for as long as the provider's takes to come.
            pending={link.variables === id && (link.isPending || link.isSuccess)}
            onClick={() => link.mutate(id)}
          >
            Link {name}
          </Button>
        ))}
      </div>
      <p className="quiet">You sign in there, and come back to this page.</p>
    </Section>
  );
}
