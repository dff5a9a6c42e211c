import { type ReactNode, useEffect } from "react";
import { Mark } from "@/shell/Mark";
import styles from "./Entry.module.css";

export interface EntryProps {
  title: string;
  children: ReactNode;
  /** The other way in. */
  below?: ReactNode;
}

/** A page for those who are not signed in: one card in the middle. */
export function Entry({ title, children, below }: EntryProps) {
  useEffect(() => {
    document.title = `${title} · cli-server`;
  }, [title]);
  return (
    <main className={styles.page}>
      <div className={styles.mark}>
        <Mark size={24} />
        cli-server
      </div>
      <div className={styles.card}>
        <h1>{title}</h1>
        {children}
      </div>
      {below !== undefined && <div className={styles.below}>{below}</div>}
    </main>
  );
}
