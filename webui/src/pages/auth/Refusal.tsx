import { type ReactNode, useEffect, useState } from "react";
import { ApiError, wordsOf } from "@/api/errors";
import { span } from "@/lib/time";
import { Notice } from "@/ui/Notice";

const TICK_MS = 250; // so that no second is seen to last two

/** How many seconds the server still wants to be left alone after this error; it counts down by itself. */
export function useSecondsLeft(error: Error | null): number {
  const [left, setLeft] = useState(0);
  useEffect(() => {
    const wanted = error instanceof ApiError ? error.retryAfter : null;
    if (wanted === null) {
      setLeft(0);
      return;
    }
    const end = Date.now() + wanted * 1000;
    const tick = () => {
      const seconds = Math.max(0, Math.ceil((end - Date.now()) / 1000));
      setLeft(seconds);
      if (seconds === 0) clearInterval(timer);
    };
    const timer = setInterval(tick, TICK_MS);
    tick();
    return () => clearInterval(timer);
  }, [error]);
  return left;
}

/** To sign in twice does no harm. */
const NO_ANSWER = "The server does not answer. Nothing is lost; check your connection, then try again.";

/** Why a form was refused. Where one has to wait, the seconds run down beside it, silently for a screen reader. */
export function Refusal({ error, left, children }: { error: Error; left: number; children?: ReactNode }) {
  const unanswered = error instanceof ApiError && error.status === 0;
  const waits = error instanceof ApiError && error.retryAfter !== null;
  return (
    <Notice tone="bad">
      {children || (unanswered ? NO_ANSWER : wordsOf(error))}
      {waits && (
        <p role="timer">
          {left > 0 ? `You can try again in ${span(left * 1000)}.` : "You can try again now."}
        </p>
      )}
    </Notice>
  );
}
