import { QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import "./base.css";
import { startLive } from "./live/live";
import { makeQueryClient } from "./query-client";
import { makeRouter } from "./router";
import { Toasts } from "./ui/Toasts";

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
