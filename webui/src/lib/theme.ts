import { remember, remembered } from "./storage";
import { Store } from "./store";

export type Theme = "light" | "dark" | "system";

const NAME = "theme"; // public/theme.js reads it before the first paint

function stored(): Theme {
  const value = remembered(NAME);
  return value === "light" || value === "dark" ? value : "system";
}

/** The theme that the person chose. */
export const theme = new Store<Theme>(stored());

export function chooseTheme(chosen: Theme): void {
  remember(NAME, chosen === "system" ? null : chosen);
  show(chosen);
}

function show(chosen: Theme): void {
  theme.set(chosen);
  if (chosen === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
}

// The other tabs follow.
addEventListener("storage", (event) => event.key === NAME && show(stored()));
