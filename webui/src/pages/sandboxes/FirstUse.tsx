import { Box, Laptop, type LucideIcon } from "lucide-react";
import { may } from "@/api/permissions";
import type { Workspace } from "@/api/schema.gen";
import { openDialog } from "@/dialogs/dialogs";
import { Empty } from "@/ui/Empty";
import styles from "./FirstUse.module.css";

/** An empty workspace: the two ways to get something into it, and nothing else. */
export function FirstUse({ workspace: { id, role } }: { workspace: Workspace }) {
  if (!may(role, "create_sandbox")) {
    return (
      <Empty title="Nothing runs here yet">
        Its owners, maintainers and developers can make sandboxes and connect machines. You are a guest: you
        see them here as soon as they do.
      </Empty>
    );
  }
  return (
    <div className={styles.choices}>
      <Choice
        icon={Box}
        title="New sandbox"
        text="opencode on this server, in the browser. Nothing to install; it pauses when nobody uses it."
        onChoose={() => openDialog({ kind: "create-sandbox", workspaceId: id })}
      />
      <Choice
        icon={Laptop}
        title="Connect this machine"
        text="opencode on your own machine, with your files and tools, reached from any browser. One command connects it."
        onChoose={() => openDialog({ kind: "connect-machine", workspaceId: id })}
      />
    </div>
  );
}

interface ChoiceProps {
  icon: LucideIcon;
  title: string;
  text: string;
  onChoose: () => void;
}

function Choice({ icon: Icon, title, text, onChoose }: ChoiceProps) {
  return (
    <button type="button" className={styles.choice} onClick={onChoose}>
      <Icon aria-hidden="true" />
      <span className={styles.title}>{title}</span>
      <span className="quiet">{text}</span>
    </button>
  );
}
