import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { LogFollower, PAUSES_MS } from "./follower";

/** A server whose connections the test speaks for. */
class Server {
  readonly connections: { say: (text: string) => void; end: () => void; fail: () => void }[] = [];
  readonly aborted: boolean[] = [];
  answer: (() => Response) | null = null;

  readonly fetch = async (_url: unknown, init?: RequestInit): Promise<Response> => {
    const number = this.connections.length;
    this.aborted.push(false);
    init?.signal?.addEventListener("abort", () => {
      this.aborted[number] = true;
    });
    let controller: ReadableStreamDefaultController<Uint8Array> | undefined;
    const body = new ReadableStream<Uint8Array>({
      start: (made) => {
        controller = made;
      },
    });
    this.connections.push({
      say: (text) => controller?.enqueue(new TextEncoder().encode(text)),
      end: () => controller?.close(),
      fail: () => controller?.error(new TypeError("network")),
    });
    return this.answer?.() ?? new Response(body);
  };

  get last() {
    const last = this.connections.at(-1);
    if (last === undefined) throw new Error("nobody came");
    return last;
  }
}

const passing = (milliseconds = 0) => vi.advanceTimersByTimeAsync(milliseconds);

describe("LogFollower", () => {
  let server: Server;
  let follower: LogFollower;
  const text = () => follower.shown.value.blocks.map((block) => block.text).join("\n");

  beforeEach(() => {
    vi.useFakeTimers();
    server = new Server();
    follower = new LogFollower("/logs", { fetch: server.fetch, now: () => Date.now() });
  });
  afterEach(() => {
    follower.stop();
    vi.useRealTimers();
  });

  it("shows what comes", async () => {
    follower.start();
    await passing();
    expect(follower.state.value.kind).toBe("following");
    server.last.say("one\ntw");
    await passing(100);
    expect(text()).toBe("one\ntw");
    server.last.say("o\n");
    await passing(100);
    expect(text()).toBe("one\ntwo");
  });

  it("comes back with growing pauses, and quickly again after a connection that lasted", async () => {
    follower.goesOn = true;
    follower.start();
    await passing();
    for (const pause of PAUSES_MS.slice(0, 3)) {
      server.last.fail();
      await passing();
      expect(follower.state.value).toEqual({ kind: "broken", retryAt: Date.now() + pause });
      const count = server.connections.length;
      await passing(pause - 1);
      expect(server.connections).toHaveLength(count);
      await passing(1);
      expect(server.connections).toHaveLength(count + 1);
    }
    await passing(10_000);
    server.last.fail();
    await passing();
    expect(follower.state.value).toEqual({ kind: "broken", retryAt: Date.now() + PAUSES_MS[0] });
  });

  it("keeps the old text until the new one has caught up, and shows no line twice", async () => {
    follower.start();
    await passing();
    server.last.say("one\ntwo\nthree\n");
    await passing(100);
    server.last.fail();
    await passing(PAUSES_MS[0]);
    server.last.say("one\n");
    await passing(100);
    expect(text()).toBe("one\ntwo\nthree");
    server.last.say("two\nthree\nfour\n");
    await passing(100);
    expect(text()).toBe("one\ntwo\nthree\nfour");
  });

  it("shows a shorter log, too: the server has begun another", async () => {
    follower.start();
    await passing();
    server.last.say("one\ntwo\n");
    await passing(100);
    server.last.fail();
    await passing(PAUSES_MS[0]);
    server.last.say("new\n");
    await passing(600);
    server.last.say("and more");
    await passing(100);
    expect(text()).toBe("new\nand more");
  });

  it("keeps what was there when nothing comes", async () => {
    follower.start();
    await passing();
    server.last.say("one\n");
    await passing(100);
    server.last.fail();
    await passing(PAUSES_MS[0]);
    server.last.fail();
    await passing(100);
    expect(text()).toBe("one");
  });

  it("ends with the sandbox, and goes on when that one does", async () => {
    follower.goesOn = false;
    follower.start();
    await passing();
    server.last.say("done\n");
    server.last.end();
    await passing(100);
    expect(follower.state.value).toEqual({ kind: "ended" });
    await passing(60_000);
    expect(server.connections).toHaveLength(1);
    follower.goesOn = true;
    await passing();
    expect(follower.state.value).toEqual({ kind: "following" });
    expect(text()).toBe("done");
  });

  it("does not believe in the end of a sandbox that runs", async () => {
    follower.start();
    await passing();
    server.last.end();
    await passing();
    expect(follower.state.value.kind).toBe("broken");
  });

  it("stops when it is refused, in the server's words", async () => {
    const problem = { code: "not_allowed", detail: "Guests do not read logs." };
    server.answer = () => new Response(JSON.stringify(problem), { status: 403 });
    follower.start();
    await passing(60_000);
    expect(follower.state.value).toMatchObject({
      kind: "refused",
      error: { message: "Guests do not read logs." },
    });
    expect(server.connections).toHaveLength(1);
  });

  it("tries again when the server is busy or away", async () => {
    server.answer = () => new Response("", { status: 503 });
    follower.start();
    await passing();
    expect(follower.state.value.kind).toBe("broken");
  });

  it("closes its connection when it is stopped, and takes nothing more", async () => {
    follower.start();
    await passing();
    follower.stop();
    expect(server.aborted).toEqual([true]);
    server.last.say("late\n");
    await passing(60_000);
    expect(text()).toBe("");
    expect(follower.state.value.kind).toBe("resting");
    expect(server.connections).toHaveLength(1);
  });
});
