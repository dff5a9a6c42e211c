import type { Sandbox } from "@/api/schema.gen";
import styles from "./Status.module.css";

type SandboxStatus = Sandbox["status"];

interface Look {
  word: string;
  tone: "ok" | "wait" | "idle" | "bad";
  shape: "full" | "turning" | "bars" | "ring" | "cross";
}

const LOOKS: Record<SandboxStatus, Look> = {
  creating: { word: "Creating", tone: "wait", shape: "turning" },
  running: { word: "Running", tone: "ok", shape: "full" },
  pausing: { word: "Pausing", tone: "wait", shape: "turning" },
  paused: { word: "Paused", tone: "idle", shape: "bars" },
  resuming: { word: "Resuming", tone: "wait", shape: "turning" },
  offline: { word: "Offline", tone: "idle", shape: "ring" },
  failed: { word: "Failed", tone: "bad", shape: "cross" },
  deleting: { word: "Deleting", tone: "wait", shape: "turning" },
};

/** A status as the server said it last: a shape, a colour and a word. */
export function Status({ status }: { status: string }) {
  const look = LOOKS[status as SandboxStatus] ?? { word: status, tone: "idle", shape: "ring" };
  return (
    <span className={`${styles.status} ${styles[look.tone]}`} data-status={status}>
      <Shape shape={look.shape} />
      {look.word}
    </span>
  );
}

function Shape({ shape }: { shape: Look["shape"] }) {
  return (
    <svg
      viewBox="0 0 12 12"
      className={`${styles.shape} ${shape === "turning" ? styles.turning : ""}`}
      aria-hidden="true"
    >
      {shape === "full" && <circle cx="6" cy="6" r="5" fill="currentColor" />}
      {shape === "ring" && <circle cx="6" cy="6" r="4" fill="none" stroke="currentColor" strokeWidth="2" />}
      {shape === "turning" && (
        <circle
          cx="6"
          cy="6"
          r="4"
          fill="none"
          stroke="currentColor"
          strokeWidth="2"
          strokeDasharray="17 8"
        />
      )}
      {shape === "bars" && <path d="M2 1h3v10H2zM7 1h3v10H7z" fill="currentColor" />}
      {shape === "cross" && (
        <path d="M2 2l8 8M10 2l-8 8" stroke="currentColor" strokeWidth="2.5" strokeLinecap="round" />
      )}
    </svg>
  );
}
