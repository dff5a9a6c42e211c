import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { keys } from "@/api/queries";
import type { Sandbox } from "@/api/schema.gen";
import { useStore } from "@/lib/store";
import { liveState } from "@/live/live";
import { type FollowState, LogFollower, type Shown } from "./follower";

/**
 * A browser has six connections to a host, for all of its tabs, and a followed log takes one. A tab that nobody looks
 * at gives it back; not at once, because people go to another tab and come back.
 */
const HIDDEN_MS = 30_000;

/** While it has one of these, a sandbox has more to say. */
const SPEAKING: readonly Sandbox["status"][] = ["creating", "running", "pausing", "resuming"];

export interface Log {
  state: FollowState;
  shown: Shown;
  /** Connect now. */
  retry: () => void;
}

/** The log of a sandbox, followed while somebody looks. */
export function useLog(sandbox: Pick<Sandbox, "id" | "status">): Log {
  const [follower] = useState(() => {
    const url = `/api/sandboxes/${sandbox.id}/logs?follow=true`;
    return new LogFollower(url, { fetch: (input, init) => fetch(input, init), now: () => Date.now() });
  });
  useEffect(() => whileSeen(follower), [follower]);
  const speaking = SPEAKING.includes(sandbox.status);
  useEffect(() => {
    follower.goesOn = speaking;
  }, [follower, speaking]);
  const state = useStore(follower.state);
  useAskWhoIAm(state);
  return { state, shown: useStore(follower.shown), retry: () => follower.start() };
}

/** Follow from now on, with rests; gives what ends it. */
function whileSeen(follower: LogFollower): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const look = () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(() => follower.stop(), HIDDEN_MS);
    else if (follower.state.value.kind === "resting") follower.start();
  };
  let away = liveState.value.kind === "away";
  // A log may be silent for long, so that a connection that is lost without a word looks like one that is well. The
  // events are never silent: when they were away and are back, the log begins anew, too.
  const unwatch = liveState.watch(() => {
    const { kind } = liveState.value;
    if (kind === "live" && away && follower.state.value.kind !== "resting") follower.start();
    if (kind === "live" || kind === "away") away = kind === "away";
  });
  document.addEventListener("visibilitychange", look);
  look();
  return () => {
    clearTimeout(timer);
    unwatch();
    document.removeEventListener("visibilitychange", look);
    follower.stop();
  };
}

/** A log that is refused for want of a session: the shell acts on the answer. */
function useAskWhoIAm(state: FollowState): void {
  const client = useQueryClient();
  const refused = state.kind === "refused" && state.error.status === 401;
  useEffect(() => {
    if (refused) void client.invalidateQueries({ queryKey: keys.me });
  }, [client, refused]);
}
