import { useEffect, useState } from "react";
import { useNow } from "@/lib/clock";
import { Button } from "@/ui/Button";
import { CopyButton } from "@/ui/Copy";
import styles from "./Connect.module.css";
import { minutesAndSeconds } from "./code-time";
import { Ring } from "./Ring";
import type { Code } from "./use-code";

export interface CodeStepProps {
  code: Code;
  /** A machine came by it. */
  used: boolean;
  pending: boolean;
  onRenew: () => void;
}

/** The code, how long it works, and another one when it does not any more. */
export function CodeStep({ code, used, pending, onRenew }: CodeStepProps) {
  const left = code.expiresAt - useNow();
  const over = used || left <= 0;
  return (
    <li className={styles.step}>
      <h3 className={styles.heading}>The code works once, for one machine</h3>
      <div className={styles.code}>
        {!used && (
          <Ring part={code.lifetime === 0 ? 0 : left / code.lifetime} label={minutesAndSeconds(left)} />
        )}
        <code className={`${styles.letters} ${over ? styles.over : ""}`}>{code.code}</code>
        {over ? (
          <Button kind={used ? "secondary" : "primary"} size="small" pending={pending} onClick={onRenew}>
            New code
          </Button>
        ) : (
          <CopyButton text={code.code} what="Copy the code" />
        )}
      </div>
      <Announced over={over} used={used} />
    </li>
  );
}

/** Said once, when it happens: a countdown that is read aloud each second helps nobody. */
function Announced({ over, used }: { over: boolean; used: boolean }) {
  const [said, setSaid] = useState("");
  useEffect(() => {
    const words = used
      ? "It was used. Another machine needs another code."
      : "It has run out. Nothing is lost: make a new one.";
    setSaid(over ? words : "");
  }, [over, used]);
  return (
    <p role="status" className={styles.note}>
      {said}
    </p>
  );
}
