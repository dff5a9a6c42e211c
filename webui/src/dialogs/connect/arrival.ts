import type { Sandbox } from "@/api/schema.gen";

/** The machines that came by codes of mine: mine, and not there before. The newest is the last. */
export function arrivals(
  sandboxes: readonly Sandbox[],
  known: ReadonlySet<string>,
  myId: string | undefined,
): Sandbox[] {
  if (myId === undefined) return [];
  return sandboxes.filter(
    (sandbox) => sandbox.isLocal && !known.has(sandbox.id) && sandbox.createdBy?.id === myId,
  );
}

/** How far it is. */
export function arrivalWords(sandbox: Pick<Sandbox, "status" | "lastHeartbeatAt">): string {
  if (sandbox.status === "running") return "is connected";
  if (sandbox.status === "deleting") return "is being disconnected";
  return sandbox.lastHeartbeatAt === null
    ? "has registered and is connecting"
    : "was connected and is offline now";
}
