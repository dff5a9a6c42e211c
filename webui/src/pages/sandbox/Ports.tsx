import { useQuery } from "@tanstack/react-query";
import { may } from "@/api/permissions";
import { portsQuery } from "@/api/queries";
import { CopyText } from "@/ui/Copy";
import { Empty } from "@/ui/Empty";
import { Loaded } from "@/ui/Loaded";
import { Section } from "@/ui/Page";
import { type Here, useHere } from "./here";
import { OtherPort } from "./OtherPort";
import { PortList } from "./PortList";

/** The web servers that people started inside. */
export default function Ports() {
  const { sandbox, role } = useHere();
  if (role !== undefined && !may(role, "open_sandbox")) {
    return <Empty title="Guests do not open ports">Developers of the workspace see them here.</Empty>;
  }
  if (sandbox.isLocal) {
    return (
      <Empty title="Ports of this machine are not carried">
        The tunnel reaches opencode on the machine and nothing else, so that connecting it opens nothing more.
        A web server that runs there is reached as before.
      </Empty>
    );
  }
  if (sandbox.status !== "running") {
    return (
      <Empty title="The sandbox is not running">
        Its ports are shown here while it is. Programs that listened before it was paused are started again by
        hand.
      </Empty>
    );
  }
  return <Running sandbox={sandbox} role={role} />;
}

function Running({ sandbox }: Here) {
  const query = useQuery(portsQuery(sandbox.id));
  return (
    <>
      <Loaded query={query} what="the ports">
        {({ ports }) => (ports.length === 0 ? <Nothing /> : <PortList sandbox={sandbox} ports={ports} />)}
      </Loaded>
      <Section title="Another port">
        <OtherPort sandbox={sandbox} />
      </Section>
    </>
  );
}

function Nothing() {
  return (
    <Empty title="Nothing listens yet">
      <p>Start a web server in a terminal of the sandbox, for example</p>
      <p>
        <CopyText text="python3 -m http.server 8000" what="Copy the command" />
      </p>
      <p>It is here within 5 seconds, with an address that the workspace's developers can open.</p>
    </Empty>
  );
}
