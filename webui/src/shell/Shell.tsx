import { useQuery } from "@tanstack/react-query";
import { Outlet, useRouter, useRouterState } from "@tanstack/react-router";
import { useEffect, useRef } from "react";
import { ApiError } from "@/api/errors";
import { meQuery } from "@/api/queries";
import { Dialogs } from "@/dialogs/Dialogs";
import { closeDialog, dialog, openDialog } from "@/dialogs/dialogs";
import { useStore } from "@/lib/store";
import { AwayBar } from "./AwayBar";
import { Rail } from "./Rail";
import styles from "./Shell.module.css";
import { signingOut } from "./sign-out";
import { TopBar } from "./TopBar";
import { rememberWorkspace, useWorkspace } from "./workspace";

/** What surrounds every page of somebody who is signed in. */
export function Shell() {
  const workspace = useWorkspace();
  useSignedOutElsewhere();
  useSomebodyElse();
  usePaletteKey();
  useFocusOnTheWay();
  useEffect(() => {
    if (workspace) rememberWorkspace(workspace.id);
  }, [workspace]);
  return (
    <div className={styles.shell}>
      <a className={styles.skip} href="#content">
        Skip to the content
      </a>
      <TopBar workspace={workspace} />
      <AwayBar />
      <div className={styles.below}>
        <Rail workspace={workspace} />
        <main id="content" className={styles.main} tabIndex={-1}>
          <Outlet />
        </main>
      </div>
      <Dialogs />
    </div>
  );
}

/** A session that ended, here or in another tab, leads to the sign-in page and back. */
function useSignedOutElsewhere(): void {
  const { error } = useQuery(meQuery);
  const router = useRouter();
  const leaving = useStore(signingOut);
  const signedOut = error instanceof ApiError && error.status === 401 && !leaving;
  useEffect(() => {
    if (!signedOut) return;
    closeDialog();
    // Asked now, and once: on the way to the sign-in page, the address is that page's already.
    const next = router.state.location.href;
    void router.navigate({ to: "/login", search: { next, ended: true }, replace: true });
  }, [signedOut, router]);
}

/** Another tab signed in as somebody else: nothing that this one shows is theirs. */
function useSomebodyElse(): void {
  const id = useQuery(meQuery).data?.id;
  const first = useRef(id);
  useEffect(() => {
    first.current ??= id;
    if (id !== first.current) location.reload();
  }, [id]);
}

/** The link that led to another page may have gone with the last one: the focus begins where the new one does. */
function useFocusOnTheWay(): void {
  const pathname = useRouterState({ select: ({ resolvedLocation }) => resolvedLocation?.pathname });
  const before = useRef(pathname);
  useEffect(() => {
    const last = before.current;
    before.current = pathname;
    // From there one is led on: the first page begins at its beginning.
    if (last === undefined || last === "/" || last === pathname) return;
    const lost = document.activeElement === null || document.activeElement === document.body;
    if (lost) document.getElementById("content")?.focus({ preventScroll: true });
  }, [pathname]);
}

function usePaletteKey(): void {
  useEffect(() => {
    const take = (event: KeyboardEvent) => {
      if (
        event.key.toLowerCase() !== "k" ||
        !(event.metaKey || event.ctrlKey) ||
        event.altKey ||
        event.shiftKey
      )
        return;
      event.preventDefault();
      // What is typed into a form is not given up for it.
      if (dialog.value === null) openDialog({ kind: "palette" });
      else if (dialog.value.kind === "palette") closeDialog();
    };
    addEventListener("keydown", take);
    return () => removeEventListener("keydown", take);
  }, []);
}
