/** Where to after signing in: a path on this very site; `/` for anything else, and for the sign-in pages themselves. */
export function safeNext(next: unknown): string {
  if (typeof next !== "string" || !next.startsWith("/")) return "/";
  // A browser reads "/\t/host", "/\\host" and "//host" as another host; so it is asked itself.
  const url = parsed(next);
  if (url === null || url.origin !== location.origin) return "/";
  const path = url.pathname + url.search + url.hash;
  if (path.startsWith("//") || /^\/(login|register)([/?#]|$)/.test(path)) return "/";
  // Of what the server answers itself, one thing is a place to go.
  return /^\/(api|agent|proxy)(\/|$)/.test(url.pathname) && !isServerPath(path) ? "/" : path;
}

function parsed(next: string): URL | null {
  try {
    return new URL(next, location.origin);
  } catch {
    return null; // "//[": no address at all
  }
}

/** Whether the server itself answers there with a page, and not this application: what leads on to a sandbox. */
export function isServerPath(path: string): boolean {
  return /^\/api\/sandboxes\/[^/?#]+\/open([?#]|$)/.test(path);
}
