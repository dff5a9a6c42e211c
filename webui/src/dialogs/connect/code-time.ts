/** How long a code still works, in milliseconds. By the server's own clock where it tells it: this one may be wrong. */
export function lifetimeMs(expiresAt: string, serverDate: string | null, now: number): number {
  const server = serverDate === null ? Number.NaN : Date.parse(serverDate);
  return Math.max(0, Date.parse(expiresAt) - (Number.isNaN(server) ? now : server));
}

/** "9:05": no more than there is. */
export function minutesAndSeconds(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}
