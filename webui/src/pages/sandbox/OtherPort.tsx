import { type FormEvent, useState } from "react";
import { openHref } from "@/api/sandbox-acts";
import type { Sandbox } from "@/api/schema.gen";
import { Button } from "@/ui/Button";
import { TextField } from "@/ui/Field";
import styles from "./Ports.module.css";
import { PORT_RULE, portOf, portUrl } from "./ports";

/** Open a port by its number: one on which something will listen soon, say. */
export function OtherPort({ sandbox }: { sandbox: Sandbox }) {
  const [text, setText] = useState("");
  const [wrong, setWrong] = useState<string>();
  const open = (event: FormEvent) => {
    event.preventDefault();
    const port = portOf(text);
    setWrong(port === null ? PORT_RULE : undefined);
    if (port !== null) window.open(openHref(sandbox, portUrl(sandbox, port)), "_blank", "noreferrer");
  };
  return (
    <form className={styles.other} onSubmit={open}>
      <TextField
        label="Port"
        hideLabel
        mono
        inputMode="numeric"
        placeholder="8000"
        autoComplete="off"
        value={text}
        error={wrong}
        onChange={(event) => {
          setText(event.target.value);
          setWrong(undefined);
        }}
      />
      <Button type="submit">Open</Button>
    </form>
  );
}
