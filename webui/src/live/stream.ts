import { createParser, type EventSourceMessage } from "eventsource-parser";
import { Pause } from "@/lib/pause";

// One connection to /api/events that comes back by itself. It is a fetch, not an EventSource, because that one tells
// neither a refused session from a server that is away nor silence from peace.

/** What is known of the connection. `since`: milliseconds since 1970. */
export type LiveState =
  | { kind: "connecting" }
  | { kind: "live" }
  | { kind: "away"; since: number }
  | { kind: "signed-out" };

export interface StreamOptions {
  fetch: typeof fetch;
  now: () => number;
  onState: (state: LiveState) => void;
  /** The data of an event; `reset` and `ready` are not passed on. */
  onEvent: (data: unknown) => void;
  /** Events were missed: load everything anew. */
  onReset: () => void;
}

/** The server gives a sign of life every 15 s; three missed ones are no accident. */
export const SILENCE_MS = 45_000;
/** After a laptop slept, what its page shows is old: within so much it is known. */
export const LOOK_MS = 5000;
/** A server on the same network answers in milliseconds; a busy one over a bad line may need this long. */
export const CONNECT_MS = 10_000;
/** The first tries come quickly: most interruptions are a restart. */
export const PAUSES_MS = [250, 500, 1000, 2000, 4000, 8000, 15_000] as const;

export class EventStream {
  #lastId: string | null = null;
  #failures = 0;
  #run = 0;
  #stop: AbortController | null = null;
  readonly #pause = new Pause();
  #state: LiveState = { kind: "connecting" };
  #lastSign: number;

  constructor(private readonly options: StreamOptions) {
    this.#lastSign = options.now();
  }

  get state(): LiveState {
    return this.#state;
  }

  /** Begin, or begin anew as somebody else: what was known of the last one is forgotten. */
  start(): void {
    this.stop();
    this.#lastId = null;
    this.#failures = 0;
    this.#lastSign = this.options.now();
    this.#tell({ kind: "connecting" });
    this.#run += 1;
    void this.#loop(this.#run);
  }

  stop(): void {
    this.#run += 1;
    this.#stop?.abort();
    this.#pause.end();
  }

  /** Do not wait for the next try: the network is back, or somebody looks at the page. */
  retry(): void {
    this.#failures = 0;
    this.#pause.end();
    this.#endSilent();
  }

  /** By the clock: timers stand still while a laptop sleeps. */
  #endSilent(): void {
    const silence = this.options.now() - this.#lastSign;
    if (this.#state.kind === "live" && silence > SILENCE_MS) this.#stop?.abort();
  }

  async #loop(run: number): Promise<void> {
    while (run === this.#run) {
      const refused = await this.#connect(run);
      if (run !== this.#run) return;
      if (refused) {
        this.#tell({ kind: "signed-out" });
        return;
      }
      if (this.#state.kind !== "away") this.#tell({ kind: "away", since: this.#lastSign });
      const pause = PAUSES_MS[Math.min(this.#failures, PAUSES_MS.length - 1)] ?? 0;
      this.#failures += 1;
      await this.#pause.wait(pause * (0.75 + Math.random() / 2));
    }
  }

  /** One connection, until it ends. `true`: the session is refused. */
  async #connect(run: number): Promise<boolean> {
    const stop = new AbortController();
    this.#stop = stop;
    let timer = setTimeout(() => stop.abort(), CONNECT_MS);
    const look = setInterval(() => this.#endSilent(), LOOK_MS);
    try {
      const headers: Record<string, string> = { Accept: "text/event-stream" };
      if (this.#lastId !== null) headers["Last-Event-ID"] = this.#lastId;
      const response = await this.options.fetch("/api/events", {
        headers,
        signal: stop.signal,
        cache: "no-store",
      });
      if (response.status === 401) return true;
      if (response.status !== 200 || response.body === null) return false;
      const parser = createParser({ onEvent: (event) => run === this.#run && this.#take(event) });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        clearTimeout(timer);
        timer = setTimeout(() => stop.abort(), SILENCE_MS);
        const { done, value } = await reader.read();
        if (done) return false;
        this.#lastSign = this.options.now();
        parser.feed(value);
      }
    } catch {
      return false; // away, or stopped
    } finally {
      clearTimeout(timer);
      clearInterval(look);
      stop.abort();
    }
  }

  #take(event: EventSourceMessage): void {
    if (event.id !== undefined && event.id !== "") this.#lastId = event.id;
    if (event.event === "ready") {
      this.#failures = 0;
      this.#tell({ kind: "live" });
    } else if (event.event === "reset") {
      this.options.onReset();
    } else {
      this.options.onEvent(JSON.parse(event.data));
    }
  }

  #tell(state: LiveState): void {
    this.#state = state;
    this.options.onState(state);
  }
}
