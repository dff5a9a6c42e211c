import createClient, { type Middleware } from "openapi-fetch";
import { hearServer } from "@/lib/clock";
import { noAnswer, problemOf } from "./errors";
import type { paths } from "./schema.gen";

/** Longer than the server's own deadlines for a database that is away; no spinner turns for longer. */
export const CALL_SECONDS = 20;

async function timedFetch(request: Request): Promise<Response> {
  const deadline = AbortSignal.timeout(CALL_SECONDS * 1000);
  try {
    return await fetch(new Request(request, { signal: AbortSignal.any([request.signal, deadline]) }));
  } catch (error) {
    if (request.signal.aborted) throw error;
    throw noAnswer(request.method);
  }
}

const failures: Middleware = {
  async onResponse({ response }) {
    hearServer(response.headers.get("Date"));
    if (response.ok) return;
    let body: unknown = null;
    try {
      body = await response.json();
    } catch {
      // Not ours: a proxy between us and the server answered.
    }
    throw problemOf(response, body);
  },
};

/** The API, typed. A call gives `data`, or throws an ApiError. */
export const api = createClient<paths>({
  baseUrl: globalThis.location?.origin ?? "http://localhost",
  fetch: timedFetch,
  // The server wants it on whatever changes something, and there may be no body that would bring it along.
  headers: { "Content-Type": "application/json" },
});
api.use(failures);

/** The data of an answer that has some. */
export async function dataOf<T>(call: Promise<{ data?: T }>): Promise<T> {
  const { data } = await call;
  return data as T;
}
