import type { Sandbox } from "@/api/schema.gen";

const LEAST = 1024;
const MOST = 65_535;

/** The port that was typed; `null` if it is none that a sandbox has an address for. */
export function portOf(text: string): number | null {
  const port = /^\s*\d{1,5}\s*$/.test(text) ? Number(text) : 0;
  return port >= LEAST && port <= MOST ? port : null;
}

/** The address of a port inside: that of the sandbox, with the port in the place of "oc". */
export function portUrl(sandbox: Pick<Sandbox, "url">, port: number): string {
  return sandbox.url.replace("://oc-", `://${port}-`);
}

export const PORT_RULE = `A port is a whole number from ${LEAST} to ${MOST}.`;
