import { type FormEvent, useRef, useState } from "react";
import { ApiError, wordsOf } from "@/api/errors";
import { useAddMember } from "@/api/member-acts";
import { rolesToGive } from "@/api/permissions";
import type { Role } from "@/api/roles.gen";
import type { Workspace } from "@/api/schema.gen";
import { Button } from "@/ui/Button";
import { SelectField, TextField } from "@/ui/Field";
import { Notice } from "@/ui/Notice";
import styles from "./Members.module.css";
import { roleName } from "./role-words";

/** What is wrong with the name, rather than with all of it. */
const ABOUT_NAME: readonly string[] = ["user_not_found", "already_member"];

export function AddMember({ workspace }: { workspace: Workspace }) {
  const [username, setUsername] = useState("");
  const [wanted, setWanted] = useState<Role>("developer");
  const [told, setTold] = useState("");
  const field = useRef<HTMLInputElement>(null);
  const roles = rolesToGive(workspace.role);
  const role = roles.includes(wanted) ? wanted : "developer";
  const add = useAddMember(workspace.id);
  const aboutName = add.error instanceof ApiError && ABOUT_NAME.includes(add.error.code);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const name = username.trim();
    if (name === "" || add.isPending) return;
    setTold("");
    add.mutate(
      { username: name, role },
      {
        onSuccess: () => {
          setUsername("");
          setTold(`${name} was added as ${role}.`);
        },
        onSettled: () => field.current?.focus(),
      },
    );
  };
  return (
    <form onSubmit={submit} aria-label="Add a member">
      <div className={styles.add}>
        <TextField
          ref={field}
          label="Add somebody by user name"
          autoComplete="off"
          autoCapitalize="none"
          spellCheck={false}
          value={username}
          onChange={(event) => setUsername(event.target.value)}
          error={aboutName ? wordsOf(add.error) : undefined}
          hint={told === "" ? "They need an account on this server." : <span role="status">{told}</span>}
        />
        <SelectField label="Role" value={role} onChange={(event) => setWanted(event.target.value as Role)}>
          {roles.map((one) => (
            <option key={one} value={one}>
              {roleName(one)}
            </option>
          ))}
        </SelectField>
        <Button
          kind="primary"
          type="submit"
          className={styles.submit ?? ""}
          pending={add.isPending}
          disabled={username.trim() === ""}
        >
          Add
        </Button>
      </div>
      {add.error && !aboutName && <Notice tone="bad">{wordsOf(add.error)}</Notice>}
    </form>
  );
}
