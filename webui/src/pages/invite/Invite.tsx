import { useQuery } from "@tanstack/react-query";
import { Link, useSearch } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { ApiError } from "@/api/errors";
import { invitationQuery, meQuery } from "@/api/queries";
import {
  dropInvitation,
  keepWorkspaceName,
  keptInvitation,
  keptWorkspaceName,
  timesOpened,
} from "@/lib/invitation";
import { useStore } from "@/lib/store";
import { Entry } from "@/pages/auth/Entry";
import { buttonClass } from "@/ui/Button";
import { Loaded, Loading } from "@/ui/Loaded";
import { Arrived } from "./Arrived";
import { Invited } from "./Invited";

/** Where the link of an invitation leads. Its token was taken out of the address on the way (router.tsx). */
export default function Invite() {
  const { joined = false } = useSearch({ from: "/invite" });
  const times = useStore(timesOpened);
  return joined ? <Joined /> : <Kept key={times} />;
}

/** Back from a provider, where the invitation was used on the way. */
function Joined() {
  const [workspaceName] = useState(keptWorkspaceName);
  useEffect(dropInvitation, []);
  return <Arrived workspaceName={workspaceName} />;
}

function Kept() {
  // The one that the page came with: it is given up before the page is.
  const [token] = useState(keptInvitation);
  return token === null ? <NoInvitation /> : <Looked token={token} />;
}

function Looked({ token }: { token: string }) {
  // Registering uses it: then it cannot be asked any more.
  const [used, setUsed] = useState(false);
  const query = useQuery({ ...invitationQuery(token), enabled: !used });
  const me = useQuery({ ...meQuery, refetchOnMount: "always" });
  const [invitation, setInvitation] = useState(query.data);
  useEffect(() => {
    if (query.data === undefined) return;
    setInvitation(query.data);
    keepWorkspaceName(query.data.workspaceName);
  }, [query.data]);
  const who = me.isError || !me.isFetchedAfterMount ? undefined : me.data;
  if (used && invitation && who) return <Arrived workspaceName={invitation.workspaceName} />;
  if (!used && query.error instanceof ApiError && query.error.status === 404) return <Invalid />;
  if (invitation === undefined || (!me.isFetchedAfterMount && me.failureCount === 0))
    return (
      <Entry title="Invitation">
        <Loaded query={query} what="the invitation">
          {() => <Loading what="your session" />}
        </Loaded>
      </Entry>
    );
  const use = () => {
    dropInvitation();
    setUsed(true);
  };
  return <Invited token={token} invitation={invitation} me={who} onUsed={use} used={used} />;
}

function Invalid() {
  useEffect(dropInvitation, []);
  return (
    <Entry title="This invitation cannot be used">
      <p>
        It was used up or withdrawn, it expired, or the link is not whole. Nothing was changed. Ask whoever
        sent it for a new one.
      </p>
      <Home />
    </Entry>
  );
}

function NoInvitation() {
  return (
    <Entry title="There is no invitation here">
      <p>
        Open the link that you were sent, all of it: what stands after the # is the invitation. If you used it
        already, the workspace is in your list.
      </p>
      <Home />
    </Entry>
  );
}

function Home() {
  return (
    <Link to="/" className={buttonClass()}>
      To your workspaces
    </Link>
  );
}
