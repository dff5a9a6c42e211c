import { useQuery } from "@tanstack/react-query";
import { serverQuery } from "@/api/queries";
import { Ago } from "@/ui/Ago";
import { CopyText } from "@/ui/Copy";
import { Card, Section } from "@/ui/Page";
import { Fact, Facts } from "./Facts";
import { type Here, useHere } from "./here";
import { IdleTimeout } from "./IdleTimeout";
import { Machine } from "./Machine";
import styles from "./Overview.module.css";
import { PauseCountdown } from "./PauseCountdown";
import { limitsWords } from "./words";

/** What it is, and how it is. */
export default function Overview() {
  const { sandbox, role } = useHere();
  return (
    <div className={styles.columns}>
      <About sandbox={sandbox} role={role} />
      {sandbox.isLocal ? <Machine sandbox={sandbox} /> : <Activity sandbox={sandbox} role={role} />}
    </div>
  );
}

function About({ sandbox }: Here) {
  const limits = limitsWords(sandbox);
  const server = useQuery(serverQuery).data;
  return (
    <Section title="About">
      <Card>
        <Facts>
          <Fact name="Address">
            <CopyText text={sandbox.url} what="Copy the address" />
          </Fact>
          <Fact name="Id">
            <CopyText text={sandbox.id} what="Copy the id" />
          </Fact>
          <Fact name="Type">
            {sandbox.isLocal ? "Somebody's own machine, by a tunnel" : "Runs on this server"}
          </Fact>
          <Fact name={sandbox.isLocal ? "Connected by" : "Made by"}>
            {sandbox.createdBy?.username ?? <span className="quiet">a user who is gone</span>},{" "}
            <Ago time={sandbox.createdAt} />
          </Fact>
          {limits !== null && (
            <Fact name="Limits">
              {limits}
              {server?.backend === "process" && (
                <p className={styles.note}>
                  This server does not enforce them: its sandboxes share the machine.
                </p>
              )}
            </Fact>
          )}
        </Facts>
      </Card>
    </Section>
  );
}

function Activity({ sandbox, role }: Here) {
  return (
    <Section title="Activity">
      <Card>
        <Facts>
          <Fact name="Last activity">
            <Ago time={sandbox.lastActivityAt} />
          </Fact>
          {sandbox.pausedAt !== null && sandbox.status === "paused" && (
            <Fact name="Paused">
              <Ago time={sandbox.pausedAt} />
            </Fact>
          )}
          <Fact name="Idle timeout">
            <IdleTimeout sandbox={sandbox} role={role} />
          </Fact>
          {sandbox.status === "running" && (
            <Fact name="Pauses">
              <PauseCountdown sandbox={sandbox} />
            </Fact>
          )}
        </Facts>
      </Card>
    </Section>
  );
}
