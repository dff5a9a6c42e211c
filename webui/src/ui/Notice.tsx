import { CircleAlert, Info, TriangleAlert } from "lucide-react";
import type { ReactNode } from "react";
import styles from "./Notice.module.css";

export interface NoticeProps {
  tone?: "info" | "warn" | "bad";
  children: ReactNode;
  /** What can be done about it. */
  action?: ReactNode;
}

/** What happened, whether anything is lost, what can be done. */
export function Notice({ tone = "info", children, action }: NoticeProps) {
  const Icon = tone === "info" ? Info : tone === "warn" ? TriangleAlert : CircleAlert;
  return (
    <div className={`${styles.notice} ${styles[tone]}`} role={tone === "bad" ? "alert" : "note"}>
      <Icon aria-hidden="true" className={styles.icon} />
      <div className={styles.text}>{children}</div>
      {action !== undefined && <div className={styles.action}>{action}</div>}
    </div>
  );
}
