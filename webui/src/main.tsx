import { QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import "./base.css";
import { startLive } from "./live/live";
import { makeQueryClient } from "./query-client";
import { makeRouter } from "./router";
import { Toasts } from "./ui/Toasts";

/** After an update of the server the parts of the old page are gone; the new page has new ones. Not twice in a row. */
const RELOAD_MS = 10_000;

addEventListener("vite:preloadError", (event) => {
  const last = Number(sessionStorage.getItem("reloaded") ?? 0);
  if (Date.now() - last < RELOAD_MS) return;
  event.preventDefault();
  sessionStorage.setItem("reloaded", String(Date.now()));
  location.reload();
});

const client = makeQueryClient();
startLive(client);

const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <QueryClientProvider client={client}>
        <RouterProvider router={makeRouter(client)} />
        <Toasts />
      </QueryClientProvider>
    </StrictMode>,
  );
}
