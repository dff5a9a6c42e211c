import type { Sandbox } from "@/api/schema.gen";
import { cores } from "@/dialogs/create/sizes";

/** "2 cores, 2 GiB of memory" at most; `null` for a machine that is not ours to limit. */
export function limitsWords({ cpu, memory }: Pick<Sandbox, "cpu" | "memory">): string | null {
  if (cpu === null || memory === null) return null;
  const count = cores(cpu);
  const [, amount = memory, unit = ""] = /^([\d.]+)(.*)$/.exec(memory) ?? [];
  const size = unit === "" ? `${amount} bytes` : `${amount} ${unit.replace("k", "K")}B`;
  return `${count} ${count === 1 ? "core" : "cores"}, ${size} of memory`;
}

// A map: the machine chooses the keys, and in an object "__proto__" and "constructor" are names of something, too.
const KNOWN: ReadonlyMap<string, string> = new Map([
  ["hostname", "Host name"],
  ["os", "System"],
  ["arch", "Processor"],
  ["agentVersion", "Agent"],
  ["opencodeVersion", "opencode"],
  ["folder", "Folder"],
]);

/** What a machine said of itself, in an order of ours; what we have no word for by its own name. */
export function machineFacts(
  info: Record<string, string> | null,
): { key: string; name: string; value: string }[] {
  const said = Object.entries(info ?? {});
  const rank = (key: string) => {
    const place = [...KNOWN.keys()].indexOf(key);
    return place === -1 ? Number.POSITIVE_INFINITY : place;
  };
  return said
    .filter(([, value]) => value !== "")
    .sort(([one], [other]) => {
      const [before, after] = [rank(one), rank(other)];
      return before === after ? one.localeCompare(other) : before - after;
    })
    .map(([key, value]) => ({ key, name: KNOWN.get(key) ?? key, value }));
}
