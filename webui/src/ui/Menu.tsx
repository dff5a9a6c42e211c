import { Check } from "lucide-react";
import { DropdownMenu as Radix } from "radix-ui";
import type { ReactNode } from "react";
import styles from "./Menu.module.css";

export interface MenuProps {
  /** The button that opens it. */
  trigger: ReactNode;
  children: ReactNode;
  align?: "start" | "end";
}

export function Menu({ trigger, children, align = "end" }: MenuProps) {
  return (
    // Not modal: it would hide from screen readers, and from the pointer, a page that is there to be seen.
    <Radix.Root modal={false}>
      <Radix.Trigger asChild>{trigger}</Radix.Trigger>
      <Radix.Portal>
        <Radix.Content className={styles.content} align={align} sideOffset={4} collisionPadding={8}>
          {children}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}

export interface MenuItemProps {
  children: ReactNode;
  icon?: ReactNode;
  danger?: boolean;
  disabled?: boolean;
  /** Where there is a choice: whether this is the chosen one. */
  checked?: boolean;
  onSelect?: () => void;
}

export function MenuItem({ children, icon, danger = false, disabled, checked, onSelect }: MenuItemProps) {
  const className = `${styles.item} ${danger ? styles.danger : ""}`;
  const mark = checked === undefined ? icon : checked ? <Check aria-hidden="true" /> : null;
  const inside = (
    <>
      {(mark !== undefined || checked !== undefined) && <span className={styles.mark}>{mark}</span>}
      <span className={styles.label}>{children}</span>
    </>
  );
  if (checked !== undefined) {
    return (
      <Radix.CheckboxItem
        className={className}
        checked={checked}
        {...(disabled !== undefined && { disabled })}
        onSelect={() => onSelect?.()}
      >
        {inside}
      </Radix.CheckboxItem>
    );
  }
  return (
    <Radix.Item
      className={className}
      {...(disabled !== undefined && { disabled })}
      onSelect={() => onSelect?.()}
    >
      {inside}
    </Radix.Item>
  );
}

export function MenuSeparator() {
  return <Radix.Separator className={styles.separator} />;
}

export function MenuLabel({ children }: { children: ReactNode }) {
  return <Radix.Label className={styles.heading}>{children}</Radix.Label>;
}
