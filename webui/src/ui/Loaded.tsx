import type { UseQueryResult } from "@tanstack/react-query";
import { type ReactNode, useEffect, useState } from "react";
import { wordsOf } from "@/api/errors";
import { Button } from "./Button";
import styles from "./Loaded.module.css";
import { Notice } from "./Notice";

/** Nothing is shown for what comes at once. */
const QUIET_MS = 200;
/** A call has an end (api/client.ts); this tells those who wait that it has not come yet. */
const LONG_MS = 8000;

export function Loading({ what }: { what: string }) {
  const [stage, setStage] = useState<"quiet" | "shown" | "long">("quiet");
  useEffect(() => {
    const timers = [
      setTimeout(() => setStage("shown"), QUIET_MS),
      setTimeout(() => setStage("long"), LONG_MS),
    ];
    return () => timers.forEach(clearTimeout);
  }, []);
  return (
    <p className={styles.loading} role="status">
      {stage === "shown" && `Loading ${what}…`}
      {stage === "long" &&
        `Loading ${what} takes longer than usual. It is given up after 20 seconds each try.`}
    </p>
  );
}

/** In the place of a whole page. */
export function LoadingPage({ what }: { what: string }) {
  return (
    <div className={styles.alone}>
      <Loading what={what} />
    </div>
  );
}

export interface LoadedProps<T> {
  query: UseQueryResult<T>;
  /** "the members": what is being loaded. */
  what: string;
  /** The page is in what it gives: until then there is nothing around. */
  alone?: boolean;
  children: (data: T) => ReactNode;
}

/** What a query gave; until then that it is loading, and what went wrong with a way to try again. Old data stays. */
export function Loaded<T>({ query, what, alone = false, children }: LoadedProps<T>) {
  if (query.data !== undefined) return <>{children(query.data)}</>;
  if (query.isPending) return alone ? <LoadingPage what={what} /> : <Loading what={what} />;
  const failure = (
    <Notice
      tone="bad"
      action={
        <Button size="small" pending={query.isFetching} onClick={() => void query.refetch()}>
          Try again
        </Button>
      }
    >
      {wordsOf(query.error)}
    </Notice>
  );
  return alone ? <div className={styles.alone}>{failure}</div> : failure;
}
