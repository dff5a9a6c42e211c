import { EventStream, type LiveState } from "./stream";

// One stream of events for all tabs of this site: a browser opens six connections to a host over HTTP/1.1, and people
// have twenty tabs open.

export type ToWorker = { type: "hello" } | { type: "bye" } | { type: "retry" } | { type: "restart" };
export type FromWorker =
  | { type: "state"; state: LiveState }
  | { type: "event"; data: unknown }
  | { type: "reset" };

const ports = new Set<MessagePort>();

function tell(message: FromWorker): void {
  for (const port of ports) port.postMessage(message);
}

const stream = new EventStream({
  fetch: (input, init) => fetch(input, init),
  now: () => Date.now(),
  onState: (state) => tell({ type: "state", state }),
  onEvent: (data) => tell({ type: "event", data }),
  onReset: () => tell({ type: "reset" }),
});

function take(port: MessagePort, message: ToWorker): void {
  if (message.type === "hello") {
    ports.add(port);
    const state: FromWorker = { type: "state", state: stream.state };
    port.postMessage(state);
    if (ports.size === 1 || stream.state.kind === "signed-out") stream.start();
  } else if (message.type === "bye") {
    ports.delete(port);
    if (ports.size === 0) stream.stop();
  } else if (message.type === "retry") {
    stream.retry();
  } else {
    stream.start();
  }
}

addEventListener("connect", (event) => {
  const port = (event as MessageEvent).ports[0];
  if (port) port.onmessage = (message: MessageEvent<ToWorker>) => take(port, message.data);
});
