import { CaseUpper, Eye, EyeOff } from "lucide-react";
import { type KeyboardEvent, type ReactNode, useState } from "react";
import { IconButton } from "@/ui/Button";
import { TextField, type TextFieldProps } from "@/ui/Field";
import styles from "./Entry.module.css";

/** A password that can be shown, and that says when Caps Lock is on. */
export function PasswordField({ hint, ...input }: TextFieldProps) {
  const [shown, setShown] = useState(false);
  const [caps, setCaps] = useState(false);
  const look = (event: KeyboardEvent) => setCaps(event.getModifierState("CapsLock"));
  const Icon = shown ? EyeOff : Eye;
  return (
    <TextField
      {...input}
      type={shown ? "text" : "password"}
      spellCheck={false}
      autoCapitalize="none"
      onKeyDown={look}
      onKeyUp={look}
      onBlur={() => setCaps(false)}
      hint={<Hint caps={caps}>{hint}</Hint>}
      end={
        <IconButton
          label={shown ? "Hide the password" : "Show the password"}
          size="small"
          onClick={() => setShown(!shown)}
        >
          <Icon aria-hidden="true" />
        </IconButton>
      }
    />
  );
}

function Hint({ caps, children }: { caps: boolean; children: ReactNode }) {
  return (
    <>
      <span role="status">
        {caps && (
          <span className={styles.caps}>
            <CaseUpper aria-hidden="true" />
            Caps Lock is on.
          </span>
        )}
      </span>
      {children}
    </>
  );
}
