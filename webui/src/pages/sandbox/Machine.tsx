import type { Sandbox } from "@/api/schema.gen";
import { Ago } from "@/ui/Ago";
import { Card, Section } from "@/ui/Page";
import { Fact, Facts } from "./Facts";
import { machineFacts } from "./words";

/** What a connected machine said of itself, and when it was last heard of. */
export function Machine({ sandbox }: { sandbox: Sandbox }) {
  return (
    <Section title="Machine">
      <Card>
        <Facts>
          {machineFacts(sandbox.agentInfo).map(({ key, name, value }) => (
            <Fact key={key} name={name}>
              {value}
            </Fact>
          ))}
          <Fact name="Last sign of life">
            {sandbox.lastHeartbeatAt === null ? (
              "It has not been connected yet"
            ) : (
              <Ago time={sandbox.lastHeartbeatAt} />
            )}
          </Fact>
          <Fact name="Last activity">
            <Ago time={sandbox.lastActivityAt} />
          </Fact>
          <Fact name="Pauses">Never: its owner starts and stops it</Fact>
        </Facts>
      </Card>
    </Section>
  );
}
