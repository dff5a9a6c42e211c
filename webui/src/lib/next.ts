/** Where to after signing in: a path on this very site; `/` for anything else, and for the sign-in pages themselves. */
export function safeNext(next: unknown): string {
  if (typeof next !== "string" || !next.startsWith("/")) return "/";
  // A browser reads "/\t/host", "/\\host" and "//host" as another host; so it is asked itself.
  const url = new URL(next, location.origin);
  if (url.origin !== location.origin) return "/";
  const path = url.pathname + url.search + url.hash;
  return path.startsWith("//") || /^\/(login|register)([/?#]|$)/.test(path) ? "/" : path;
}
