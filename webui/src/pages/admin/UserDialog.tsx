import type { AdminUser } from "@/api/schema.gen";
import { Confirm } from "@/ui/Confirm";
import { USER_ACTS, type UserAct, useUserAct } from "./user-acts";

/** Says what happens before it does. */
export function UserDialog({ user, act, onClose }: { user: AdminUser; act: UserAct; onClose: () => void }) {
  const change = useUserAct(user.id, act, onClose);
  const { title, what, verb, danger } = USER_ACTS[act];
  return (
    <Confirm
      title={title(user.username)}
      verb={verb}
      danger={danger}
      pending={change.isPending}
      error={change.error}
      onConfirm={() => change.mutate()}
      onClose={onClose}
    >
      {what(user.username)}
    </Confirm>
  );
}
