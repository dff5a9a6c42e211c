import { type ReactNode, useEffect } from "react";
import styles from "./Page.module.css";

export interface PageProps {
  title: string;
  /** What stands in the window's title; the page's own title otherwise. */
  windowTitle?: string | undefined;
  /** In the place of the title, where it is more than a text. */
  heading?: ReactNode;
  actions?: ReactNode;
  /** For pages of text and forms, whose lines would be too long. */
  narrow?: boolean;
  children: ReactNode;
}

/** A page inside the shell: its title, what can be done on it, its content. */
export function Page({ title, windowTitle = title, heading, actions, narrow = false, children }: PageProps) {
  useEffect(() => {
    document.title = `${windowTitle} · cli-server`;
  }, [windowTitle]);
  return (
    <div className={`${styles.page} ${narrow ? styles.narrow : ""}`}>
      <header className={styles.header}>
        {heading ?? <h1 className={styles.title}>{title}</h1>}
        {actions !== undefined && <div className={styles.actions}>{actions}</div>}
      </header>
      {children}
    </div>
  );
}

/** A part of a page, with a title of its own. */
export function Section({
  title,
  children,
  actions,
}: {
  title: string;
  children: ReactNode;
  actions?: ReactNode;
}) {
  return (
    <section className={styles.section}>
      <header className={styles.header}>
        <h2>{title}</h2>
        {actions !== undefined && <div className={styles.actions}>{actions}</div>}
      </header>
      {children}
    </section>
  );
}

/** Content on a surface, with a line around. */
export function Card({ children }: { children: ReactNode }) {
  return <div className={styles.card}>{children}</div>;
}
