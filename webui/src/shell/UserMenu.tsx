import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { CircleUser, Fingerprint, KeyRound, LogOut, MonitorSmartphone, Shield } from "lucide-react";
import { meQuery } from "@/api/queries";
import { useStore } from "@/lib/store";
import { chooseTheme, type Theme, theme } from "@/lib/theme";
import { Button } from "@/ui/Button";
import { Menu, MenuItem, MenuLabel, MenuSeparator } from "@/ui/Menu";
import { useSignOut } from "./sign-out";
import styles from "./UserMenu.module.css";

const THEMES: Record<Theme, string> = { system: "System", light: "Light", dark: "Dark" };

export function UserMenu() {
  const me = useQuery(meQuery).data;
  const chosen = useStore(theme);
  const navigate = useNavigate();
  const signOut = useSignOut();
  return (
    <Menu
      trigger={
        <Button kind="quiet" className={styles.trigger ?? ""}>
          <CircleUser aria-hidden="true" />
          <span className="off-screen">Account</span>
          <span className={styles.name}>{me?.username}</span>
        </Button>
      }
    >
      <MenuLabel>{me?.email ?? me?.username}</MenuLabel>
      <MenuItem
        icon={<MonitorSmartphone aria-hidden="true" />}
        onSelect={() => void navigate({ to: "/account/sessions" })}
      >
        Where you are signed in
      </MenuItem>
      <MenuItem
        icon={<Fingerprint aria-hidden="true" />}
        onSelect={() => void navigate({ to: "/account/sign-in" })}
      >
        How you sign in
      </MenuItem>
      <MenuItem
        icon={<KeyRound aria-hidden="true" />}
        onSelect={() => void navigate({ to: "/account/tokens" })}
      >
        API tokens
      </MenuItem>
      {me?.isAdmin && (
        <MenuItem icon={<Shield aria-hidden="true" />} onSelect={() => void navigate({ to: "/admin/users" })}>
          Admin
        </MenuItem>
      )}
      <MenuSeparator />
      <MenuLabel>Theme</MenuLabel>
      {(Object.keys(THEMES) as Theme[]).map((one) => (
        <MenuItem key={one} checked={one === chosen} onSelect={() => chooseTheme(one)}>
          {THEMES[one]}
        </MenuItem>
      ))}
      <MenuSeparator />
      <MenuItem icon={<LogOut aria-hidden="true" />} onSelect={() => signOut.mutate()}>
        Sign out
      </MenuItem>
    </Menu>
  );
}
