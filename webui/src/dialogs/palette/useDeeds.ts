import { useRouter } from "@tanstack/react-router";
import { failureWords } from "@/api/errors";
import type { Offer } from "@/api/offers";
import { openHref, type SandboxAct, useSandboxAct } from "@/api/sandbox-acts";
import type { Sandbox } from "@/api/schema.gen";
import { chooseTheme } from "@/lib/theme";
import { copyAddress } from "@/pages/sandboxes/copy-address";
import { useSignOut } from "@/shell/sign-out";
import { notify } from "@/ui/Toasts";
import { closeDialog, openDialog } from "../dialogs";
import type { Deed } from "./items";

/** Carries out what was chosen, and closes the palette. */
export function useDeeds(): (deed: Exclude<Deed, { kind: "enter" }>) => void {
  const router = useRouter();
  const signOut = useSignOut();
  const withSandbox = useOffers();
  return (deed) => {
    switch (deed.kind) {
      case "dialog":
        return openDialog(deed.dialog);
      case "offer":
        return withSandbox(deed.offer, deed.sandbox);
      case "theme":
        chooseTheme(deed.theme);
        return closeDialog();
      case "go":
        closeDialog();
        return router.history.push(deed.path);
      case "sign-out":
        closeDialog();
        return signOut.mutate();
    }
  };
}

function useOffers(): (offer: Offer, sandbox: Sandbox) => void {
  const router = useRouter();
  const { mutateAsync } = useSandboxAct();
  const ask = (act: SandboxAct, sandbox: Sandbox, not: string) => {
    closeDialog();
    // The palette is gone by the time of the answer, and the sandbox may be on no page that is shown.
    mutateAsync({ act, sandbox }).catch((error) =>
      notify(failureWords(`${sandbox.name} was not ${not}.`, error), "bad"),
    );
  };
  return (offer, sandbox) => {
    switch (offer) {
      case "open":
        closeDialog();
        open(openHref(sandbox), "_blank", "noopener");
        return;
      case "pause":
        return ask("pause", sandbox, "paused");
      case "resume":
        return ask("resume", sandbox, "resumed");
      case "copy":
        void copyAddress(sandbox).then(closeDialog);
        return;
      case "logs":
        closeDialog();
        return router.history.push(`/sandboxes/${sandbox.id}/logs`);
      case "rename":
        return openDialog({ kind: "rename-sandbox", sandbox });
      case "delete":
        return openDialog({ kind: "delete-sandboxes", sandboxes: [sandbox] });
    }
  };
}
