import { useServerNow } from "@/lib/clock";
import { exactTime, roughSpan } from "@/lib/time";

/** How long until then, with the exact time on hover: "in 6 days". */
export function Left({ until }: { until: string }) {
  const end = Date.parse(until);
  const left = end - useServerNow();
  return (
    <time dateTime={until} title={exactTime(end)}>
      {left > 0 ? `in ${roughSpan(left)}` : "now"}
    </time>
  );
}
