import { type FormEvent, useId, useState } from "react";
import { fieldWords, wordsOf } from "@/api/errors";
import { useCreateInvitation } from "@/api/invitation-acts";
import { rolesToGive } from "@/api/permissions";
import type { Role } from "@/api/roles.gen";
import type { Workspace } from "@/api/schema.gen";
import { Button } from "@/ui/Button";
import { Dialog } from "@/ui/Dialog";
import { ExpiryField } from "@/ui/ExpiryField";
import { SelectField, TextField } from "@/ui/Field";
import { Notice } from "@/ui/Notice";
import { InviteLink } from "./InviteLink";
import styles from "./Members.module.css";
import { ROLE_WORDS, roleName } from "./role-words";

const LIFETIMES = [
  ["1d", "1 day"],
  ["7d", "7 days"],
  ["30d", "30 days"],
] as const;

export interface InviteByLinkProps {
  workspace: Workspace;
  onClose: () => void;
}

/** A link that lets whoever has it join. */
export function InviteByLink({ workspace, onClose }: InviteByLinkProps) {
  const roles = rolesToGive(workspace.role);
  const [wanted, setWanted] = useState<Role>("developer");
  const [expiresIn, setExpiresIn] = useState<string>("7d");
  const [uses, setUses] = useState("1");
  const form = useId();
  const role = roles.includes(wanted) ? wanted : "developer";
  const create = useCreateInvitation(workspace.id);
  const wrong = (field: string) => fieldWords(create.error, field);
  const elsewhere = create.error && !["role", "expiresIn", "uses"].some(wrong);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!create.isPending) create.mutate({ role, expiresIn, uses: Number(uses) });
  };
  if (create.data !== undefined) return <InviteLink invitation={create.data} onClose={onClose} />;
  return (
    <Dialog
      title="Invite by link"
      description={`Whoever opens the link can join “${workspace.name}”, and make an account for it here. Send it to nobody else.`}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" type="submit" form={form} pending={create.isPending}>
            Make the link
          </Button>
        </>
      }
    >
      <form id={form} className={styles.invite} onSubmit={submit}>
        <SelectField
          label="Role"
          value={role}
          onChange={(event) => setWanted(event.target.value as Role)}
          error={wrong("role")}
          hint={ROLE_WORDS[role]}
        >
          {roles.map((one) => (
            <option key={one} value={one}>
              {roleName(one)}
            </option>
          ))}
        </SelectField>
        <ExpiryField
          lifetimes={LIFETIMES}
          value={expiresIn}
          onChange={setExpiresIn}
          error={wrong("expiresIn")}
        />
        <TextField
          label="How many people may use it"
          type="number"
          min={1}
          max={100}
          required
          value={uses}
          onChange={(event) => setUses(event.target.value)}
          error={wrong("uses")}
        />
      </form>
      {elsewhere && <Notice tone="bad">{wordsOf(create.error)}</Notice>}
    </Dialog>
  );
}
