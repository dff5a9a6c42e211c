import { useServerNow } from "@/lib/clock";
import { ago, exactTime } from "@/lib/time";

/** A time in words, with the exact one on hover. */
export function Ago({ time }: { time: string }) {
  const milliseconds = Date.parse(time);
  return (
    <time dateTime={time} title={exactTime(milliseconds)}>
      {ago(milliseconds, useServerNow())}
    </time>
  );
}
