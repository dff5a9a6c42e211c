import type { ReactNode } from "react";
import styles from "./Badge.module.css";

export function Badge({
  children,
  tone = "plain",
}: {
  children: ReactNode;
  tone?: "plain" | "bad" | "accent";
}) {
  return <span className={`${styles.badge} ${styles[tone]}`}>{children}</span>;
}
