import { type ReactNode, useEffect, useRef } from "react";
import { CopyBlock } from "./Copy";
import { Notice } from "./Notice";
import styles from "./Once.module.css";

export interface OnceProps {
  /** What is shown this once. */
  secret: string;
  /** "Copy the link". */
  what: string;
  /** What happened, and what is to be done with it now. */
  words: ReactNode;
  children?: ReactNode;
}

/** A secret that the server told once: where the form was that made it, and with the focus. */
export function Once({ secret, what, words, children }: OnceProps) {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => place.current?.focus(), []);
  return (
    // The form that had the focus is gone.
    <div ref={place} className={styles.once} tabIndex={-1}>
      <Notice>{words}</Notice>
      <CopyBlock text={secret} what={what} />
      {children}
    </div>
  );
}
