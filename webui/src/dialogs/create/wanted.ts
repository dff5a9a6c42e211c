import type { WantedSandbox } from "@/api/schema.gen";
import type { Size } from "./sizes";

/** What is chosen and typed in the form. */
export interface Wanted {
  name: string;
  /** The name of a size, or `own`. */
  size: string;
  cpu: string;
  memory: string;
  /** Empty: the server's; `own`: what is typed. */
  timeout: string;
  ownTimeout: string;
}

export const OWN = "own";

export const NOTHING_CHOSEN: Wanted = {
  name: "",
  size: "",
  cpu: "",
  memory: "",
  timeout: "",
  ownTimeout: "",
};

/** What is sent. What was left empty is the server's to choose. */
export function wantedBody(wanted: Wanted, offered: readonly Size[]): WantedSandbox {
  const own = wanted.size === OWN;
  const chosen = offered.find((size) => size.name === wanted.size)?.limits;
  const timeout = wanted.timeout === OWN ? wanted.ownTimeout : wanted.timeout;
  return {
    name: text(wanted.name),
    cpu: own ? text(wanted.cpu) : (chosen?.cpu ?? null),
    memory: own ? text(wanted.memory) : (chosen?.memory ?? null),
    idleTimeout: text(timeout),
  };
}

function text(typed: string): string | null {
  return typed.trim() === "" ? null : typed.trim();
}
