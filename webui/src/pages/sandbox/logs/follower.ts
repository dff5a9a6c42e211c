import { CALL_SECONDS } from "@/api/client";
import { ApiError, problemOf } from "@/api/errors";
import { Pause } from "@/lib/pause";
import { Store } from "@/lib/store";
import { type Block, LogBuffer } from "./buffer";

export type FollowState =
  | { kind: "connecting" }
  | { kind: "following" }
  /** The log is at its end: the sandbox does not run. */
  | { kind: "ended" }
  /** Another try comes at `retryAt` (milliseconds since 1970). */
  | { kind: "broken"; retryAt: number }
  | { kind: "refused"; error: ApiError }
  /** Closed, until somebody looks again. */
  | { kind: "resting" };

/** What there is to show. */
export interface Shown {
  readonly blocks: readonly Block[];
  readonly cut: number;
}

export interface FollowerOptions {
  fetch: typeof fetch;
  now: () => number;
}

/** The first tries come quickly: most interruptions are a restart. Then no more often than a person would click. */
export const PAUSES_MS = [500, 1000, 2000, 4000, 8000, 15_000, 30_000] as const;
/** A connection that ends sooner is one more failure: each begins with the whole log, which is too much for a loop. */
const LASTED_MS = 10_000;
/** More often than this the eye sees no difference, and drawing costs. */
const DRAW_MS = 60;
/** A log is sent from its beginning each time. The old text stays so long while the new one catches up with it. */
const CATCH_UP_MS = 500;

/** Follows the log of one sandbox, and comes back when the connection breaks. */
export class LogFollower {
  readonly state = new Store<FollowState>({ kind: "resting" });
  readonly shown = new Store<Shown>({ blocks: [], cut: 0 });
  #buffer = new LogBuffer();
  #goesOn = true;
  #failures = 0;
  #run = 0;
  #stop: AbortController | null = null;
  readonly #pause = new Pause();
  #drawing: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly url: string,
    private readonly options: FollowerOptions,
  ) {}

  /** Connect, or connect anew. */
  start(): void {
    this.stop();
    this.#failures = 0;
    this.#run += 1;
    void this.#loop(this.#run);
  }

  /** Give the connection up. What is shown stays. */
  stop(): void {
    this.#run += 1;
    this.#stop?.abort();
    this.#pause.end();
    this.state.set({ kind: "resting" });
  }

  /** Whether the sandbox says more after the end of a connection. */
  set goesOn(value: boolean) {
    const begins = value && !this.#goesOn;
    this.#goesOn = value;
    if (begins && this.state.value.kind === "ended") this.start();
  }

  async #loop(run: number): Promise<void> {
    while (run === this.#run) {
      this.state.set({ kind: "connecting" });
      const began = this.options.now();
      const outcome = await this.#connect(run);
      if (this.options.now() - began >= LASTED_MS) this.#failures = 0;
      if (run !== this.#run) return;
      if (outcome instanceof ApiError) return this.state.set({ kind: "refused", error: outcome });
      if (outcome === "ended" && !this.#goesOn) return this.state.set({ kind: "ended" });
      const pause = PAUSES_MS[Math.min(this.#failures, PAUSES_MS.length - 1)] ?? 0;
      this.#failures += 1;
      this.state.set({ kind: "broken", retryAt: this.options.now() + pause });
      await this.#pause.wait(pause);
    }
  }

  /** One connection, until it ends: by itself, by an accident, or because the server refuses it. */
  async #connect(run: number): Promise<"ended" | "broken" | ApiError> {
    const stop = new AbortController();
    this.#stop = stop;
    const timer = setTimeout(() => stop.abort(), CALL_SECONDS * 1000);
    try {
      const response = await this.options.fetch(this.url, { signal: stop.signal, cache: "no-store" });
      clearTimeout(timer);
      if (!response.ok) return await refusal(response);
      if (run === this.#run) this.state.set({ kind: "following" });
      if (response.body !== null) await this.#read(run, response.body);
      return "ended";
    } catch {
      return "broken";
    } finally {
      clearTimeout(timer);
      stop.abort();
    }
  }

  async #read(run: number, body: ReadableStream<Uint8Array>): Promise<void> {
    const buffer = new LogBuffer();
    const before = this.#buffer;
    const began = this.options.now();
    const reader = body.getReader();
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (run !== this.#run) return;
        if (done) break;
        buffer.feed(value);
        if (buffer.lines >= before.lines || this.options.now() - began > CATCH_UP_MS) this.#buffer = buffer;
        this.#draw();
      }
      buffer.end();
    } finally {
      // Whatever came is newer than what was there.
      if (run === this.#run && (buffer.lines > 0 || buffer.blocks.length > 0)) this.#buffer = buffer;
      this.#draw();
    }
  }

  #draw(): void {
    this.#drawing ??= setTimeout(() => {
      this.#drawing = undefined;
      this.shown.set({ blocks: this.#buffer.blocks, cut: this.#buffer.cut });
    }, DRAW_MS);
  }
}

/** What the server's word means: a refusal stays one; that it is busy or away passes. */
async function refusal(response: Response): Promise<"broken" | ApiError> {
  if (response.status >= 500 || response.status === 429) return "broken";
  const body: unknown = await response.json().catch(() => null);
  return problemOf(response, body);
}
