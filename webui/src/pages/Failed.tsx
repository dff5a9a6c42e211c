import { type ErrorComponentProps, Link } from "@tanstack/react-router";
import { wordsOf } from "@/api/errors";
import { Button } from "@/ui/Button";
import { Notice } from "@/ui/Notice";
import { Page } from "@/ui/Page";

/** A page that could not be shown. */
export function Failed({ error, reset }: ErrorComponentProps) {
  return (
    <Page title="This page cannot be shown">
      <Notice tone="bad" action={<Button onClick={reset}>Try again</Button>}>
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
