import { createContext, useContext } from "react";
import type { Role } from "@/api/roles.gen";
import type { Sandbox } from "@/api/schema.gen";

export interface Here {
  sandbox: Sandbox;
  /** One's own role in its workspace; unknown while that is being loaded. */
  role: Role | undefined;
}

const Context = createContext<Here | null>(null);
export const HereProvider = Context.Provider;

/** The sandbox whose page this is. */
export function useHere(): Here {
  const here = useContext(Context);
  if (here === null) throw new Error("outside of a sandbox's page");
  return here;
}
