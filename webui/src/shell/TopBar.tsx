import { Link } from "@tanstack/react-router";
import { Search } from "lucide-react";
import type { Workspace } from "@/api/schema.gen";
import { openDialog } from "@/dialogs/dialogs";
import { Mark } from "./Mark";
import styles from "./TopBar.module.css";
import { UserMenu } from "./UserMenu";
import { WorkspaceSwitcher } from "./WorkspaceSwitcher";

const KEY = /Mac|iPhone|iPad/.test(navigator.userAgent) ? "⌘K" : "Ctrl K";

export function TopBar({ workspace }: { workspace: Workspace | undefined }) {
  return (
    <header className={styles.bar}>
      <Link to="/" className={styles.mark} aria-label="cli-server, home">
        <Mark />
        <span className={styles.name}>cli-server</span>
      </Link>
      <WorkspaceSwitcher workspace={workspace} />
      <button type="button" className={styles.search} onClick={() => openDialog({ kind: "palette" })}>
        <Search aria-hidden="true" />
        <span className={styles.words}>Search and commands</span>
        <span className={styles.key} aria-hidden="true">
          <kbd>{KEY}</kbd>
        </span>
      </button>
      <UserMenu />
    </header>
  );
}
