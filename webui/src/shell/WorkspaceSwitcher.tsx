import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { ChevronsUpDown, Plus } from "lucide-react";
import { workspacesQuery } from "@/api/queries";
import type { Workspace } from "@/api/schema.gen";
import { openDialog } from "@/dialogs/dialogs";
import { Button } from "@/ui/Button";
import { Menu, MenuItem, MenuLabel, MenuSeparator } from "@/ui/Menu";
import styles from "./WorkspaceSwitcher.module.css";

export function WorkspaceSwitcher({ workspace }: { workspace: Workspace | undefined }) {
  const workspaces = useQuery(workspacesQuery).data ?? [];
  const navigate = useNavigate();
  return (
    <Menu
      align="start"
      trigger={
        <Button kind="quiet" className={styles.trigger ?? ""}>
          <span className="off-screen">Workspace</span>
          <span className={styles.name}>{workspace?.name ?? "Workspaces"}</span>
          <ChevronsUpDown aria-hidden="true" />
        </Button>
      }
    >
      <MenuLabel>Workspaces</MenuLabel>
      {workspaces.map((one) => (
        <MenuItem
          key={one.id}
          checked={one.id === workspace?.id}
          onSelect={() => void navigate({ to: "/w/$workspaceId/sandboxes", params: { workspaceId: one.id } })}
        >
          {one.name}
        </MenuItem>
      ))}
      <MenuSeparator />
      <MenuItem icon={<Plus aria-hidden="true" />} onSelect={() => openDialog({ kind: "create-workspace" })}>
        New workspace
      </MenuItem>
    </Menu>
  );
}
