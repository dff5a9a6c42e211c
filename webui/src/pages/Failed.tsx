import { type ErrorComponentProps, Link, useRouter } from "@tanstack/react-router";
import { useEffect, useRef } from "react";
import { wordsOf } from "@/api/errors";
import { reloadIfGone } from "@/lib/parts";
import { useStore } from "@/lib/store";
import { liveState } from "@/live/live";
import { Button } from "@/ui/Button";
import { Notice } from "@/ui/Notice";
import { Page } from "@/ui/Page";

/** A page that could not be shown. It is tried again by itself when the server is back. */
export function Failed({ error }: ErrorComponentProps) {
  const router = useRouter();
  const live = useStore(liveState).kind === "live";
  const before = useRef(live);
  useEffect(() => reloadIfGone(error), [error]);
  useEffect(() => {
    if (live && !before.current) void router.invalidate();
    before.current = live;
  }, [live, router]);
  return (
    <Page title="This page cannot be shown">
      <Notice tone="bad" action={<Button onClick={() => void router.invalidate()}>Try again</Button>}>
        {wordsOf(error)}
      </Notice>
    </Page>
  );
}

/** An address that leads nowhere, and a workspace or sandbox that one does not see (any more). */
export function NothingHere({ what = "page" }: { what?: "page" | "workspace" | "sandbox" }) {
  return (
    <Page title={`There is no such ${what}`}>
      <p className="quiet">
        {what === "page"
          ? "The address may be mistyped."
          : `It was deleted, or the address is mistyped, or you are not a member ${what === "sandbox" ? "of its workspace" : "of it"}.`}
      </p>
      <p>
        <Link to="/">To your sandboxes</Link>
      </p>
    </Page>
  );
}
