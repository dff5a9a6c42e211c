import type { QueryClient } from "@tanstack/react-query";
import { forgetUnanswered } from "@/api/sandbox-acts";
import { Store } from "@/lib/store";
import { applyEvent, askAllAgain, type LiveEvent } from "./apply";
import { EventStream, type LiveState } from "./stream";
import type { FromWorker, ToWorker } from "./worker";

/** How the connection to the server is. The bar at the top shows it. */
export const liveState = new Store<LiveState>({ kind: "connecting" });

let send: (message: ToWorker) => void = () => undefined;

/** Somebody signed in: the stream is theirs from now on, in every tab. */
export function restartLive(): void {
  send({ type: "restart" });
}

/** Keeps what is shown up to date, from now on and in every tab. */
export function startLive(client: QueryClient): void {
  const take = (message: FromWorker) => {
    if (message.type === "event") {
      applyEvent(client, message.data as LiveEvent);
      return;
    }
    if (message.type === "state") {
      const before = liveState.value.kind;
      liveState.set(message.state);
      if (message.state.kind === "signed-out") void client.invalidateQueries({ queryKey: ["me"] });
      if (message.state.kind !== "live" || before === "live") return;
    }
    // What happened before this moment may have been missed.
    forgetUnanswered(client);
    askAllAgain(client);
  };
  send = typeof SharedWorker === "undefined" ? ownStream(take) : sharedStream(take);
  addEventListener("online", () => send({ type: "retry" }));
  document.addEventListener("visibilitychange", () => document.hidden || send({ type: "retry" }));
  addEventListener("pagehide", () => send({ type: "bye" }));
  addEventListener("pageshow", (event) => event.persisted && send({ type: "hello" }));
  send({ type: "hello" });
}

function sharedStream(take: (message: FromWorker) => void): (message: ToWorker) => void {
  const worker = new SharedWorker(new URL("./worker.ts", import.meta.url), {
    type: "module",
    name: "events",
  });
  worker.port.onmessage = (message: MessageEvent<FromWorker>) => take(message.data);
  return (message) => worker.port.postMessage(message);
}

/** Where a browser has no shared workers (Chrome on Android), each tab has its own. */
function ownStream(take: (message: FromWorker) => void): (message: ToWorker) => void {
  const stream = new EventStream({
    fetch: (input, init) => fetch(input, init),
    now: () => Date.now(),
    onState: (state) => take({ type: "state", state }),
    onEvent: (data) => take({ type: "event", data }),
    onReset: () => take({ type: "reset" }),
  });
  return (message) => {
    if (message.type === "bye") stream.stop();
    else if (message.type === "retry") stream.retry();
    else stream.start();
  };
}
