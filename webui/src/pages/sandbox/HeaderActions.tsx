import { Copy, Ellipsis, ExternalLink, Pause, Play, RotateCw, Trash2 } from "lucide-react";
import { mainOffer, offers, offerWords } from "@/api/offers";
import { openHref, usePendingAct, useSandboxAct } from "@/api/sandbox-acts";
import { openDialog } from "@/dialogs/dialogs";
import { copyAddress } from "@/pages/sandboxes/copy-address";
import { Button, buttonClass, IconButton } from "@/ui/Button";
import { Menu, MenuItem, MenuSeparator } from "@/ui/Menu";
import type { Here } from "./here";

/** What makes sense now, and the rest in a menu. */
export function HeaderActions({ sandbox, role }: Here) {
  const act = useSandboxAct();
  const pending = usePendingAct(sandbox.id);
  const main = mainOffer(sandbox, role);
  return (
    <>
      {main === "open" && (
        <a className={buttonClass("primary")} href={openHref(sandbox)} target="_blank" rel="noreferrer">
          <ExternalLink aria-hidden="true" />
          Open
        </a>
      )}
      {main === "resume" && (
        <Button
          kind="primary"
          icon={sandbox.status === "failed" ? <RotateCw aria-hidden="true" /> : <Play aria-hidden="true" />}
          pending={pending === "resume"}
          onClick={() => act.mutate({ act: "resume", sandbox })}
        >
          {offerWords("resume", sandbox)}
        </Button>
      )}
      {offers("copy", sandbox, role) && <Rest sandbox={sandbox} role={role} />}
    </>
  );
}

function Rest({ sandbox, role }: Here) {
  const act = useSandboxAct();
  const pending = usePendingAct(sandbox.id);
  return (
    <Menu
      trigger={
        <IconButton label="More" kind="secondary" pending={pending === "pause" || pending === "delete"}>
          <Ellipsis aria-hidden="true" />
        </IconButton>
      }
    >
      {offers("pause", sandbox, role) && (
        <MenuItem icon={<Pause aria-hidden="true" />} onSelect={() => act.mutate({ act: "pause", sandbox })}>
          Pause
        </MenuItem>
      )}
      <MenuItem icon={<Copy aria-hidden="true" />} onSelect={() => void copyAddress(sandbox)}>
        Copy address
      </MenuItem>
      {offers("delete", sandbox, role) && (
        <>
          <MenuSeparator />
          <MenuItem
            danger
            icon={<Trash2 aria-hidden="true" />}
            onSelect={() => openDialog({ kind: "delete-sandboxes", sandboxes: [sandbox] })}
          >
            {offerWords("delete", sandbox)}…
          </MenuItem>
        </>
      )}
    </Menu>
  );
}
