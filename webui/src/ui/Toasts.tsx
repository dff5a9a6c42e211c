import { X } from "lucide-react";
import { Toast as Radix } from "radix-ui";
import { Store, useStore } from "@/lib/store";
import { IconButton } from "./Button";
import styles from "./Toasts.module.css";

interface Toast {
  id: number;
  text: string;
  tone: "info" | "bad";
}

const toasts = new Store<readonly Toast[]>([]);
let last = 0;
/** Long enough to read two lines; an error stays until it is closed. */
const SHOWN_MS = 6000;
/** More at a time cover the page. */
const MOST = 3;

/** Say what came of something whose place is not on the screen (any more). */
export function notify(text: string, tone: Toast["tone"] = "info"): void {
  last += 1;
  toasts.set([...toasts.value, { id: last, text, tone }].slice(-MOST));
}

/** They were for somebody who is not here any more. */
export function closeAll(): void {
  toasts.set([]);
}

function close(id: number): void {
  toasts.set(toasts.value.filter((toast) => toast.id !== id));
}

export function Toasts() {
  return (
    <Radix.Provider label="Message" swipeDirection="right">
      {useStore(toasts).map((toast) => (
        <Radix.Root
          key={toast.id}
          className={`${styles.toast} ${styles[toast.tone]}`}
          type={toast.tone === "bad" ? "foreground" : "background"}
          duration={toast.tone === "bad" ? Number.POSITIVE_INFINITY : SHOWN_MS}
          onOpenChange={(open) => open || close(toast.id)}
        >
          <Radix.Description className={styles.text}>{toast.text}</Radix.Description>
          <Radix.Close asChild>
            <IconButton label="Close the message" size="small">
              <X aria-hidden="true" />
            </IconButton>
          </Radix.Close>
        </Radix.Root>
      ))}
      <Radix.Viewport className={styles.viewport} label="Messages ({hotkey})" />
    </Radix.Provider>
  );
}
