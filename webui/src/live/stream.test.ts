import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { CONNECT_MS, EventStream, type LiveState, LOOK_MS, SILENCE_MS } from "./stream";

/** A server whose answers the test writes piece by piece. */
class Server {
  readonly asked: Headers[] = [];
  #body: ReadableStreamDefaultController<Uint8Array> | null = null;
  status = 200;
  away = false;
  silent = false;

  readonly fetch = (_url: unknown, init?: RequestInit): Promise<Response> => {
    this.asked.push(new Headers(init?.headers));
    if (this.away) return Promise.reject(new TypeError("refused"));
    if (this.silent) {
      return new Promise((_resolve, reject) =>
        init?.signal?.addEventListener("abort", () => reject(new Error("aborted"))),
      );
    }
    if (this.status !== 200) return Promise.resolve(new Response(null, { status: this.status }));
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#body = controller;
        init?.signal?.addEventListener("abort", () => {
          try {
            controller.error(new Error("aborted"));
          } catch {
            // closed before
          }
        });
      },
    });
    return Promise.resolve(new Response(body));
  };

  async say(text: string): Promise<void> {
    this.#body?.enqueue(new TextEncoder().encode(text));
    await settled();
  }

  async hangUp(): Promise<void> {
    this.#body?.close();
    await settled();
  }
}

const settled = () => vi.advanceTimersByTimeAsync(0);

describe("the stream of events", () => {
  let server: Server;
  let states: LiveState[];
  let events: unknown[];
  let resets: number;
  let stream: EventStream;

  beforeEach(() => {
    vi.useFakeTimers();
    vi.spyOn(Math, "random").mockReturnValue(0.5);
    server = new Server();
    states = [];
    events = [];
    resets = 0;
    stream = new EventStream({
      fetch: server.fetch,
      now: () => Date.now(),
      onState: (state) => states.push(state),
      onEvent: (event) => events.push(event),
      onReset: () => {
        resets += 1;
      },
    });
    stream.start();
  });

  afterEach(() => {
    stream.stop();
    vi.useRealTimers();
  });

  const kinds = () => states.map((state) => state.kind);

  it("is live once the server says so, and passes events on, however they are cut", async () => {
    await settled();
    await server.say("retry: 2000\n\nid: 7\nevent: ready\ndata: {}\n\n");
    expect(kinds()).toEqual(["connecting", "live"]);
    await server.say('id: 8\nevent: sandbox.created\ndata: {"type":"sandbox.cre');
    expect(events).toEqual([]);
    await server.say('ated"}\n\n');
    expect(events).toEqual([{ type: "sandbox.created" }]);
  });

  it("comes back by itself and resumes after the last event", async () => {
    await settled();
    await server.say("id: 7\nevent: ready\ndata: {}\n\n");
    await server.say('id: 9\ndata: {"type":"sandbox.updated"}\n\n');
    await server.hangUp();
    expect(kinds()).toEqual(["connecting", "live", "away"]);
    await vi.advanceTimersByTimeAsync(250);
    expect(server.asked[1]?.get("Last-Event-ID")).toBe("9");
    await server.say("id: 9\nevent: ready\ndata: {}\n\n");
    expect(kinds().at(-1)).toBe("live");
  });

  it("says since when it is away: since the last sign of life", async () => {
    await settled();
    await server.say("event: ready\ndata: {}\n\n");
    await vi.advanceTimersByTimeAsync(5000);
    const lastSign = Date.now();
    await server.say(": still here\n\n");
    server.away = true;
    await vi.advanceTimersByTimeAsync(SILENCE_MS);
    expect(states.at(-1)).toEqual({ kind: "away", since: lastSign });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(states.at(-1)).toEqual({ kind: "away", since: lastSign });
  });

  it("takes silence for an end, and gives up on an answer that does not begin", async () => {
    await settled();
    await server.say("event: ready\ndata: {}\n\n");
    server.silent = true;
    await vi.advanceTimersByTimeAsync(SILENCE_MS + 250);
    expect(server.asked).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(CONNECT_MS + 500);
    expect(server.asked).toHaveLength(3);
  });

  it("takes the sleep of a laptop for silence, soon or as soon as somebody looks", async () => {
    const sleep = () => vi.setSystemTime(Date.now() + 3_600_000);
    await settled();
    await server.say("event: ready\ndata: {}\n\n");
    const lastSign = Date.now();
    sleep();
    await vi.advanceTimersByTimeAsync(LOOK_MS);
    expect(states.at(-1)).toEqual({ kind: "away", since: lastSign });
    await vi.advanceTimersByTimeAsync(250);
    await server.say("event: ready\ndata: {}\n\n");
    sleep();
    stream.retry();
    await settled();
    expect(kinds().at(-1)).toBe("away");
    stream.retry(); // a connection that is being made is left alone
    await vi.advanceTimersByTimeAsync(250);
    stream.retry();
    await server.say("event: ready\ndata: {}\n\n");
    expect(kinds().at(-1)).toBe("live");
  });

  it("asks less and less often, and at once when somebody looks", async () => {
    server.away = true;
    stream.start();
    await vi.advanceTimersByTimeAsync(250 + 500 + 1000);
    const before = server.asked.length;
    await vi.advanceTimersByTimeAsync(1999);
    expect(server.asked).toHaveLength(before);
    stream.retry();
    await settled();
    expect(server.asked).toHaveLength(before + 1);
  });

  it("stops when the session is refused, and begins anew as somebody else without the old place", async () => {
    await settled();
    await server.say("id: 7\nevent: ready\ndata: {}\n\n");
    server.status = 401;
    await server.hangUp();
    await vi.advanceTimersByTimeAsync(250);
    expect(kinds().at(-1)).toBe("signed-out");
    const before = server.asked.length;
    await vi.advanceTimersByTimeAsync(600_000);
    expect(server.asked).toHaveLength(before);
    server.status = 200;
    stream.start();
    await settled();
    expect(server.asked.at(-1)?.get("Last-Event-ID")).toBeNull();
  });

  it("tells of missed events, and nothing after it was stopped", async () => {
    await settled();
    await server.say("event: reset\ndata: {}\n\nevent: ready\ndata: {}\n\n");
    expect(resets).toBe(1);
    stream.stop();
    const before = states.length;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(states).toHaveLength(before);
  });
});
