import { useNavigate } from "@tanstack/react-router";
import {
  Copy,
  Ellipsis,
  ExternalLink,
  FileText,
  Info,
  Pause,
  Pencil,
  Play,
  Trash2,
  Unplug,
} from "lucide-react";
import { type Offer, offers, offerWords } from "@/api/offers";
import type { Role } from "@/api/roles.gen";
import { openHref, useSandboxAct } from "@/api/sandbox-acts";
import type { Sandbox } from "@/api/schema.gen";
import { openDialog } from "@/dialogs/dialogs";
import { IconButton } from "@/ui/Button";
import { Menu, MenuItem, MenuSeparator } from "@/ui/Menu";
import { copyAddress } from "./copy-address";

export interface RowMenuProps {
  sandbox: Sandbox;
  role: Role;
  tabIndex: number;
}

/** All that can be done with a sandbox. */
export function RowMenu({ sandbox, role, tabIndex }: RowMenuProps) {
  const navigate = useNavigate();
  const act = useSandboxAct();
  const params = { sandboxId: sandbox.id };
  const item = (offer: Offer, icon: React.ReactNode, onSelect: () => void) =>
    offers(offer, sandbox, role) && (
      <MenuItem icon={icon} danger={offer === "delete"} onSelect={onSelect}>
        {offerWords(offer, sandbox)}
        {offer === "delete" && "…"}
      </MenuItem>
    );
  return (
    <Menu
      trigger={
        <IconButton label={`More for ${sandbox.name}`} size="small" tabIndex={tabIndex}>
          <Ellipsis aria-hidden="true" />
        </IconButton>
      }
    >
      {item("open", <ExternalLink aria-hidden="true" />, () => open(openHref(sandbox), "_blank", "noopener"))}
      {item("resume", <Play aria-hidden="true" />, () => act.mutate({ act: "resume", sandbox }))}
      {item("pause", <Pause aria-hidden="true" />, () => act.mutate({ act: "pause", sandbox }))}
      <MenuItem
        icon={<Info aria-hidden="true" />}
        onSelect={() => void navigate({ to: "/sandboxes/$sandboxId", params })}
      >
        Go to its page
      </MenuItem>
      {item(
        "logs",
        <FileText aria-hidden="true" />,
        () => void navigate({ to: "/sandboxes/$sandboxId/logs", params }),
      )}
      {item("copy", <Copy aria-hidden="true" />, () => void copyAddress(sandbox))}
      {item("rename", <Pencil aria-hidden="true" />, () => openDialog({ kind: "rename-sandbox", sandbox }))}
      {offers("delete", sandbox, role) && <MenuSeparator />}
      {item("delete", sandbox.isLocal ? <Unplug aria-hidden="true" /> : <Trash2 aria-hidden="true" />, () =>
        openDialog({ kind: "delete-sandboxes", sandboxes: [sandbox] }),
      )}
    </Menu>
  );
}
