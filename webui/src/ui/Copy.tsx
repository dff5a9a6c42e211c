import { Check, Copy as CopyIcon } from "lucide-react";
import { useEffect, useState } from "react";
import { copyText } from "@/lib/clipboard";
import { Button, IconButton } from "./Button";
import styles from "./Copy.module.css";

const SHOWN_MS = 2000;

/** What is copied; a function where it is long and made only when it is wanted. */
type Copied = string | (() => string);

function useCopy(text: Copied): ["idle" | "copied" | "failed", () => void] {
  const [state, setState] = useState<"idle" | "copied" | "failed">("idle");
  useEffect(() => {
    if (state === "idle") return;
    const timer = setTimeout(() => setState("idle"), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [state]);
  const copy = async () => {
    const copied = await copyText(typeof text === "string" ? text : text());
    setState(copied ? "copied" : "failed");
  };
  return [state, copy];
}

/** A button that copies. `what`: "Copy the address". */
export function CopyButton({ text, what, label }: { text: Copied; what: string; label?: string }) {
  const [state, copy] = useCopy(text);
  const icon = state === "copied" ? <Check aria-hidden="true" /> : <CopyIcon aria-hidden="true" />;
  const said = state === "copied" ? "Copied" : state === "failed" ? "Select it and copy it" : "";
  return (
    <>
      {label === undefined ? (
        <IconButton label={said || what} size="small" onClick={copy}>
          {icon}
        </IconButton>
      ) : (
        <Button size="small" icon={icon} onClick={copy} title={what}>
          {said || label}
        </Button>
      )}
      <span role="status" className="off-screen">
        {said}
      </span>
    </>
  );
}

/** A text in monospace, on one line, that can be copied. */
export function CopyText({ text, what }: { text: string; what: string }) {
  return (
    <span className={styles.line}>
      <code className={styles.text} title={text}>
        {text}
      </code>
      <CopyButton text={text} what={what} />
    </span>
  );
}

/** A command or another text of several lines, in a box. */
export function CopyBlock({ text, what }: { text: string; what: string }) {
  return (
    <div className={styles.block}>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard */}
      <pre className={styles.pre} tabIndex={0}>
        {text}
      </pre>
      <CopyButton text={text} what={what} label="Copy" />
    </div>
  );
}
