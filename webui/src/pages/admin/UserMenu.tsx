import { MoreHorizontal, Shield, ShieldOff, UserCheck, UserX } from "lucide-react";
import type { AdminUser } from "@/api/schema.gen";
import { IconButton } from "@/ui/Button";
import { Menu, MenuItem } from "@/ui/Menu";
import { USER_ACTS, type UserAct } from "./user-acts";

/** What an admin can do with somebody else's account. */
export function UserMenu({ user, onAsk }: { user: AdminUser; onAsk: (act: UserAct) => void }) {
  const item = (act: UserAct, icon: typeof Shield) => {
    const Icon = icon;
    const { verb, danger } = USER_ACTS[act];
    return (
      <MenuItem danger={danger} icon={<Icon aria-hidden="true" />} onSelect={() => onAsk(act)}>
        {verb}
      </MenuItem>
    );
  };
  return (
    <Menu
      trigger={
        <IconButton label={`Change ${user.username}`} size="small">
          <MoreHorizontal aria-hidden="true" />
        </IconButton>
      }
    >
      {user.isAdmin ? item("revoke", ShieldOff) : item("grant", Shield)}
      {user.disabledAt === null ? item("disable", UserX) : item("enable", UserCheck)}
    </Menu>
  );
}
