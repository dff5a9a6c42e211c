import { ApiError, noAnswer } from "@/api/errors";

// Parts of the page that are loaded when they are wanted. One that does not come is gone after an update of the server,
// and the page, loaded anew, brings the new one; or the server is away, and the page loaded anew would be the browser's
// own error page, from which nothing comes back by itself.

const GONE = "part_gone";
/** As long as a part takes over a bad line. */
const ANSWER_MS = 5000;
/** What a new page does not mend another one does not, either. */
const RELOAD_MS = 10_000;

/** Load a part; throws an ApiError that says why it did not come. */
export async function part<T>(load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch {
    if (!(await answers())) throw noAnswer("GET");
    throw new ApiError(404, GONE, "The server was updated, and this part of the page is gone. Load it anew.");
  }
}

async function answers(): Promise<boolean> {
  try {
    return (await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS) })).ok;
  } catch {
    return false;
  }
}

/** Load the page anew where that brings what was missing; not twice in a row. */
export function reloadIfGone(error: unknown): void {
  if (!(error instanceof ApiError) || error.code !== GONE) return;
  const last = Number(sessionStorage.getItem("reloaded") ?? 0);
  if (Date.now() - last < RELOAD_MS) return;
  sessionStorage.setItem("reloaded", String(Date.now()));
  location.reload();
}
