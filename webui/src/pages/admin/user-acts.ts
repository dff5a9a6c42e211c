import { useMutation, useQueryClient } from "@tanstack/react-query";
import { api } from "@/api/client";
import { adminUsersQuery } from "@/api/queries";
import type { UserChange } from "@/api/schema.gen";

export type UserAct = "disable" | "enable" | "grant" | "revoke";

interface ActWords {
  /** In the menu and on the button. */
  verb: string;
  title: (name: string) => string;
  /** What happens, what stays, and how it is undone. */
  what: (name: string) => string;
  danger: boolean;
}

export const USER_ACTS: Record<UserAct, ActWords> = {
  disable: {
    verb: "Disable",
    title: (name) => `Disable ${name}`,
    what: (name) =>
      `${name} is signed out everywhere at once and cannot sign in. Machines that ${name} connected are disconnected. ` +
      "Nothing is deleted: workspaces, sandboxes and disks stay, for the other members too. You can enable the account again.",
    danger: true,
  },
  enable: {
    verb: "Enable",
    title: (name) => `Enable ${name}`,
    what: (name) =>
      `${name} can sign in again, with everything as it was. The sessions that were ended stay ended. ` +
      `Machines that ${name} connected come back where the agent runs as a service; elsewhere it has to be started again.`,
    danger: false,
  },
  grant: {
    verb: "Make admin",
    title: (name) => `Make ${name} an admin`,
    what: (name) =>
      `${name} sees all users, workspaces, sandboxes and the audit log of this server, can disable users, and can make or ` +
      "unmake admins, you too. This does not let them open sandboxes of workspaces that they are not a member of.",
    danger: false,
  },
  revoke: {
    verb: "Take away admin",
    title: (name) => `Take admin rights from ${name}`,
    what: (name) =>
      `${name} no longer sees the admin pages. Workspaces and roles in them stay as they are. ` +
      "You can make them an admin again.",
    danger: true,
  },
};

const CHANGES: Record<UserAct, Partial<UserChange>> = {
  disable: { disabled: true },
  enable: { disabled: false },
  grant: { isAdmin: true },
  revoke: { isAdmin: false },
};

export function useUserAct(userId: string, act: UserAct, onDone: () => void) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: () =>
      api.PATCH("/api/admin/users/{userId}", {
        params: { path: { userId } },
        body: { isAdmin: null, disabled: null, ...CHANGES[act] },
      }),
    onSuccess: onDone,
    onSettled: () => client.invalidateQueries({ queryKey: adminUsersQuery.queryKey }),
  });
}
