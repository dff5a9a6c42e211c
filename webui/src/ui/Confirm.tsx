import type { ReactNode } from "react";
import { wordsOf } from "@/api/errors";
import { Button } from "./Button";
import { Dialog } from "./Dialog";
import { Notice } from "./Notice";

export interface ConfirmProps {
  title: string;
  /** What goes with it, and what stays. */
  children: ReactNode;
  /** The verb: what the button does. */
  verb: string;
  danger?: boolean;
  pending: boolean;
  error: Error | null;
  onConfirm: () => void;
  onClose: () => void;
}

/** Asks once more before something is done that cannot be taken back as easily. */
export function Confirm(props: ConfirmProps) {
  const { title, children, verb, danger = true, pending, error, onConfirm, onClose } = props;
  return (
    <Dialog
      title={title}
      description={children}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind={danger ? "danger" : "primary"} pending={pending} onClick={onConfirm}>
            {verb}
          </Button>
        </>
      }
    >
      {error && <Notice tone="bad">{wordsOf(error)}</Notice>}
    </Dialog>
  );
}
