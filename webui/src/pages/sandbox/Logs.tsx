import { may } from "@/api/permissions";
import { Empty } from "@/ui/Empty";
import { useHere } from "./here";
import { LogPanel } from "./logs/LogPanel";

/** What the sandbox's programs say, as they say it. */
export default function Logs() {
  const { sandbox, role } = useHere();
  if (role !== undefined && !may(role, "read_logs")) {
    return <Empty title="Guests do not read logs">Developers of the workspace see them here.</Empty>;
  }
  if (sandbox.isLocal) {
    return (
      <Empty title="The log of this machine is there">
        Its agent and its opencode say what they do on the machine itself, where the agent was started. They
        send none of it here.
      </Empty>
    );
  }
  return <LogPanel sandbox={sandbox} />;
}
