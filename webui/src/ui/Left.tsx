import { useServerNow } from "@/lib/clock";
import { exactTime, span } from "@/lib/time";

/** How long until then, with the exact time on hover: "in 6 days 3 h". */
export function Left({ until }: { until: string }) {
  const end = Date.parse(until);
  const left = end - useServerNow();
  return (
    <time dateTime={until} title={exactTime(end)}>
      {left > 0 ? `in ${span(left)}` : "now"}
    </time>
  );
}
