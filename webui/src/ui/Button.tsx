import type { ButtonHTMLAttributes, ReactNode, Ref } from "react";
import styles from "./Button.module.css";

export interface ButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  kind?: "primary" | "secondary" | "quiet" | "danger";
  size?: "small" | "medium";
  icon?: ReactNode;
  /** What was clicked is under way: the button says so and takes no second click. */
  pending?: boolean;
  ref?: Ref<HTMLButtonElement>;
}

/** The class names of a button, for links that look like one. */
export function buttonClass(kind: ButtonProps["kind"] = "secondary", size: ButtonProps["size"] = "medium") {
  return `${styles.button} ${styles[kind]} ${styles[size]}`;
}

export function Button({
  kind,
  size,
  icon,
  pending = false,
  className,
  children,
  onClick,
  ...rest
}: ButtonProps) {
  return (
    <button
      type="button"
      {...rest}
      className={`${buttonClass(kind, size)} ${className ?? ""}`}
      aria-disabled={pending || undefined}
      aria-busy={pending || undefined}
      onClick={pending ? (event) => event.preventDefault() : onClick}
    >
      {pending ? <span className={styles.spinner} aria-hidden="true" /> : icon}
      {children}
    </button>
  );
}

export interface IconButtonProps extends ButtonProps {
  /** What it does; shown on hover and read aloud. */
  label: string;
}

export function IconButton({ label, children, className, ...rest }: IconButtonProps) {
  return (
    <Button
      kind="quiet"
      {...rest}
      className={`${styles.only} ${className ?? ""}`}
      aria-label={label}
      title={label}
    >
      {children}
    </Button>
  );
}
