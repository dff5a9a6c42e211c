import { Link } from "@tanstack/react-router";
import { ExternalLink } from "lucide-react";
import { openHref } from "@/api/sandbox-acts";
import type { Sandbox } from "@/api/schema.gen";
import { buttonClass } from "@/ui/Button";
import { Status } from "@/ui/Status";
import { closeDialog } from "../dialogs";
import { arrivalWords } from "./arrival";
import styles from "./Connect.module.css";

/** Waiting for the machine, then the machine. */
export function Arrival({ came }: { came: readonly Sandbox[] }) {
  return (
    <li className={styles.step}>
      <h3 className={styles.heading}>It arrives here</h3>
      <div aria-live="polite" className={styles.came}>
        {came.length === 0 && (
          <p className={styles.waiting}>
            <span className={styles.dots} aria-hidden="true" />
            Waiting for the machine
          </p>
        )}
        {came.map((sandbox) => (
          <Machine key={sandbox.id} sandbox={sandbox} />
        ))}
      </div>
    </li>
  );
}

function Machine({ sandbox }: { sandbox: Sandbox }) {
  return (
    <div className={styles.machine}>
      <Status status={sandbox.status} />
      <p className={styles.who}>
        <Link to="/sandboxes/$sandboxId" params={{ sandboxId: sandbox.id }} onClick={closeDialog}>
          {sandbox.name}
        </Link>{" "}
        {arrivalWords(sandbox)}
      </p>
      {sandbox.status === "running" && (
        <a
          className={buttonClass("primary", "small")}
          href={openHref(sandbox)}
          target="_blank"
          rel="noreferrer"
          aria-label={`Open ${sandbox.name}`}
        >
          <ExternalLink aria-hidden="true" />
          Open
        </a>
      )}
    </div>
  );
}
