import { useQuery } from "@tanstack/react-query";
import { wordsOf } from "@/api/errors";
import { meQuery, sandboxesQuery, serverQuery } from "@/api/queries";
import { Button } from "@/ui/Button";
import { Dialog } from "@/ui/Dialog";
import { Loaded, Loading } from "@/ui/Loaded";
import { Notice } from "@/ui/Notice";
import { Arrival } from "./connect/Arrival";
import { arrivals } from "./connect/arrival";
import { CodeStep } from "./connect/CodeStep";
import styles from "./connect/Connect.module.css";
import { useCode } from "./connect/use-code";
import { Ways } from "./connect/Ways";
import { closeDialog } from "./dialogs";

/** A machine joins: its code, the command to run there, and its arrival. */
export default function ConnectMachine({ workspaceId }: { workspaceId: string }) {
  const { code, pending, error, renew } = useCode(workspaceId);
  // Events bring it.
  const sandboxes = useQuery(sandboxesQuery(workspaceId)).data ?? [];
  const me = useQuery(meQuery).data;
  const came = code === null ? [] : arrivals(sandboxes, code.known, me?.id);
  return (
    <Dialog
      wide
      title="Connect a machine"
      description="A laptop or server that runs opencode joins this workspace and is opened like any other sandbox. It dials out: it needs no open port."
      onClose={closeDialog}
    >
      {error !== null && (
        <Notice
          tone="bad"
          action={
            <Button size="small" pending={pending} onClick={renew}>
              Try again
            </Button>
          }
        >
          There is no new code. {wordsOf(error)}
        </Notice>
      )}
      {code === null && error === null && <Loading what="a code" />}
      {code !== null && (
        <ol className={styles.steps}>
          <CodeStep
            code={code}
            used={came.some(({ id }) => !code.before.has(id))}
            pending={pending}
            onRenew={renew}
          />
          <CommandStep code={code.code} />
          <Arrival came={came} />
        </ol>
      )}
    </Dialog>
  );
}

function CommandStep({ code }: { code: string }) {
  const server = useQuery(serverQuery);
  return (
    <li className={styles.step}>
      <h3 className={styles.heading}>Run this on the machine, in the folder to work in</h3>
      <Loaded query={server} what="the commands">
        {({ agent }) => <Ways downloads={agent} code={code} />}
      </Loaded>
    </li>
  );
}
