import type { ReactNode } from "react";

// The rows of this list are cards on a phone, and a browser forgets what a table element means once it is laid out as
// something else; so its parts are named by their roles.

export interface CellProps {
  className?: string | undefined;
  children?: ReactNode;
}

/** A cell. Its row has the focus, or a control inside; it never has it itself. */
export function Cell({ className, children }: CellProps) {
  return (
    // biome-ignore lint/a11y/useSemanticElements: see above
    // biome-ignore lint/a11y/useFocusableInteractive: rows have the focus
    <div role="gridcell" className={className}>
      {children}
    </div>
  );
}

export function HeadCell({ children }: CellProps) {
  return (
    // biome-ignore lint/a11y/useSemanticElements: see above
    // biome-ignore lint/a11y/useFocusableInteractive: there is nothing to be done with it
    <div role="columnheader">{children}</div>
  );
}
