import { useQuery } from "@tanstack/react-query";
import { type FormEvent, useId, useState } from "react";
import { fieldWords, wordsOf } from "@/api/errors";
import { meQuery } from "@/api/queries";
import { useCreateToken } from "@/api/token-acts";
import { Button } from "@/ui/Button";
import { Dialog } from "@/ui/Dialog";
import { ExpiryField } from "@/ui/ExpiryField";
import { TextField } from "@/ui/Field";
import { Notice } from "@/ui/Notice";
import styles from "./Account.module.css";
import { NewSecret } from "./NewSecret";
import { ScopeBoxes } from "./ScopeBoxes";
import type { Scope } from "./scope-words";

const LIFETIMES = [
  ["7d", "7 days"],
  ["30d", "30 days"],
  ["90d", "90 days"],
  ["180d", "180 days"],
  ["365d", "1 year"],
] as const;

export function CreateToken({ onClose }: { onClose: () => void }) {
  const [name, setName] = useState("");
  const [scopes, setScopes] = useState<readonly Scope[]>(["read"]);
  const [expiresIn, setExpiresIn] = useState<string>("90d");
  const isAdmin = useQuery(meQuery).data?.isAdmin ?? false;
  const form = useId();
  const create = useCreateToken();
  const wrong = (field: string) => fieldWords(create.error, field);
  const elsewhere = create.error && !["name", "scopes", "expiresIn"].some(wrong);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!create.isPending) create.mutate({ name: name.trim(), scopes: [...scopes], expiresIn });
  };
  if (create.data !== undefined) return <NewSecret token={create.data} onClose={onClose} />;
  return (
    <Dialog
      title="New API token"
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button
            kind="primary"
            type="submit"
            form={form}
            pending={create.isPending}
            disabled={name.trim() === "" || scopes.length === 0}
          >
            Create the token
          </Button>
        </>
      }
    >
      <form id={form} className={styles.form} onSubmit={submit}>
        <TextField
          label="Name"
          autoComplete="off"
          required
          maxLength={100}
          value={name}
          onChange={(event) => setName(event.target.value)}
          error={wrong("name")}
          hint="What uses it, such as “nightly build”."
        />
        <ScopeBoxes chosen={scopes} onChoose={setScopes} isAdmin={isAdmin} error={wrong("scopes")} />
        <ExpiryField
          lifetimes={LIFETIMES}
          value={expiresIn}
          onChange={setExpiresIn}
          error={wrong("expiresIn")}
        />
      </form>
      {elsewhere && <Notice tone="bad">{wordsOf(create.error)}</Notice>}
    </Dialog>
  );
}
