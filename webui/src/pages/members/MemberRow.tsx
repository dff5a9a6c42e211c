import { useState } from "react";
import { wordsOf } from "@/api/errors";
import { useChangeRole } from "@/api/member-acts";
import { may, mayRemove } from "@/api/permissions";
import type { Role } from "@/api/roles.gen";
import type { Member, Workspace } from "@/api/schema.gen";
import { Badge } from "@/ui/Badge";
import { Button } from "@/ui/Button";
import { Confirm } from "@/ui/Confirm";
import { SelectField } from "@/ui/Field";
import styles from "./Members.module.css";
import { ROLES, roleName } from "./role-words";

export interface MemberRowProps {
  workspace: Workspace;
  member: Member;
  /** This is me. */
  mine: boolean;
}

export function MemberRow({ workspace, member, mine, onGoing }: MemberRowProps & { onGoing: () => void }) {
  return (
    <tr>
      <td className={styles.name}>
        <span>{member.username}</span>
        {mine && <Badge>you</Badge>}
      </td>
      <td className={styles.role}>
        {may(workspace.role, "change_role") ? (
          <RoleSelect workspace={workspace} member={member} mine={mine} />
        ) : (
          roleName(member.role)
        )}
      </td>
      <td className={styles.act}>
        {mine && (
          <Button size="small" onClick={onGoing}>
            Leave
          </Button>
        )}
        {!mine && mayRemove(workspace.role, member.role) && (
          <Button size="small" aria-label={`Remove ${member.username}`} onClick={onGoing}>
            Remove
          </Button>
        )}
      </td>
    </tr>
  );
}

/** The role as the server said it last. Giving up one's own is asked once more: one cannot take it back. */
function RoleSelect({ workspace, member, mine }: MemberRowProps) {
  const [asked, setAsked] = useState<Role>();
  const change = useChangeRole(workspace.id, member.userId);
  const choose = (role: Role) => (mine ? setAsked(role) : change.mutate(role));
  const close = () => {
    setAsked(undefined);
    change.reset();
  };
  return (
    <>
      <SelectField
        label={`Role of ${member.username}`}
        hideLabel
        value={member.role}
        disabled={change.isPending}
        onChange={(event) => choose(event.target.value as Role)}
      >
        {ROLES.map((role) => (
          <option key={role} value={role}>
            {roleName(role)}
          </option>
        ))}
      </SelectField>
      {change.isPending && <div className={styles.doing}>Changing to {change.variables}…</div>}
      {change.error && asked === undefined && (
        <div className={styles.error} role="alert">
          {wordsOf(change.error)}
        </div>
      )}
      {asked !== undefined && (
        <Confirm
          title={`Become a ${asked}`}
          verb={`Become a ${asked}`}
          pending={change.isPending}
          error={change.error}
          onConfirm={() => change.mutate(asked, { onSuccess: close })}
          onClose={close}
        >
          You give up being an owner of “{workspace.name}” at once. Only another owner can make you one again.
        </Confirm>
      )}
    </>
  );
}
