import { X } from "lucide-react";
import { Dialog as Radix } from "radix-ui";
import { type ReactNode, useEffect, useState } from "react";
import { IconButton } from "./Button";
import styles from "./Dialog.module.css";

export interface DialogProps {
  title: string;
  /** What it is for, in a sentence, where the title does not say it. */
  description?: ReactNode;
  children?: ReactNode;
  /** Buttons, the most likely one last. */
  footer?: ReactNode;
  wide?: boolean;
  /** Its content is all there is to see; the title is read aloud only. */
  bare?: boolean;
  /** Escape, before it closes: `true` if it meant something inside. */
  onEscape?: () => boolean;
  /** What it shows is not shown again: only its own buttons close it. */
  keep?: boolean;
  onClose: () => void;
}

/** From where the last dialog was opened. */
let lastOpener: HTMLElement | null = null;

/** The element with the focus; inside a menu or another dialog, which are closing, from where that one was opened. */
function whatHasFocus(): HTMLElement | null {
  const focused = document.activeElement;
  // One that waits for the code of the next hides itself, and then nothing has the focus.
  const hidden = focused === document.body && document.querySelector('[role="dialog"]') !== null;
  if (hidden || focused?.closest('[role="dialog"]')) return lastOpener;
  const menu = focused?.closest('[role="menu"]')?.getAttribute("aria-labelledby");
  if (menu) return document.getElementById(menu);
  return focused instanceof HTMLElement && focused !== document.body ? focused : null;
}

/** Where the focus may go back to. What it came from may be gone, by what was done here; then to the next row of a list. */
function placesFrom(opener: HTMLElement | null): readonly HTMLElement[] {
  if (opener === null) return [];
  const row = opener.closest<HTMLElement>("[data-row]");
  const rows = row === null ? [] : [...document.querySelectorAll<HTMLElement>("[data-row]")];
  const place = row === null ? 0 : rows.indexOf(row);
  return [opener, ...rows.slice(place + 1), ...rows.slice(0, place).reverse()];
}

/** An open dialog: whoever wants it closed stops rendering it. */
export function Dialog(props: DialogProps) {
  const {
    title,
    description,
    children,
    footer,
    wide = false,
    bare = false,
    keep = false,
    onEscape,
    onClose,
  } = props;
  const [opener] = useState(whatHasFocus);
  useEffect(() => {
    lastOpener = opener;
  }, [opener]);
  const [places] = useState(() => placesFrom(opener));
  const giveFocusBack = (event: Event) => {
    event.preventDefault(); // Radix would give it to a trigger, which there is none of
    const back = places.find((place) => place.isConnected) ?? document.getElementById("content");
    back?.focus();
  };
  return (
    <Radix.Root open onOpenChange={(open) => open || onClose()}>
      <Radix.Portal>
        <Radix.Overlay className={styles.overlay} />
        <Radix.Content
          onCloseAutoFocus={giveFocusBack}
          className={`${styles.content} ${wide ? styles.wide : ""}`}
          {...(description === undefined && { "aria-describedby": undefined })}
          onOpenAutoFocus={focusContent}
          onEscapeKeyDown={(event) => (keep || onEscape?.()) && event.preventDefault()}
          onInteractOutside={(event) => keep && event.preventDefault()}
        >
          <header className={bare ? "off-screen" : styles.header}>
            <Radix.Title className={styles.title}>{title}</Radix.Title>
            {!bare && (
              <Radix.Close asChild>
                <IconButton label="Close" size="small">
                  <X aria-hidden="true" />
                </IconButton>
              </Radix.Close>
            )}
          </header>
          <div className={bare ? styles.bare : styles.body}>
            {description !== undefined && (
              <Radix.Description asChild>
                <div className={styles.description}>{description}</div>
              </Radix.Description>
            )}
            {children}
          </div>
          {footer !== undefined && <footer className={styles.footer}>{footer}</footer>}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}

/** To the first field, or else to the first button below, which takes nothing away; not to the one that closes. */
function focusContent(event: Event): void {
  const content = event.currentTarget;
  if (!(content instanceof HTMLElement)) return;
  const first = content.querySelector<HTMLElement>("input, select, textarea, footer button");
  if (first === null) return;
  event.preventDefault();
  first.focus();
}
