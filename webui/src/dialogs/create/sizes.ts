// Sizes to choose from, as parts of what this server gives at most.

export interface Limits {
  cpu: string;
  memory: string;
}

export interface Size {
  name: string;
  /** `null`: the server's own, which is the most. */
  limits: Limits | null;
  words: string;
}

/** opencode takes 0.8 GiB at work, and what it starts takes some, too. */
const LEAST_GIB = 1;
const PARTS = [
  { name: "Full", part: 1 },
  { name: "Half", part: 0.5 },
  { name: "Quarter", part: 0.25 },
] as const;

/** The sizes that make sense below these limits, the largest first. */
export function sizes(most: Limits): Size[] {
  const cpu = cores(most.cpu);
  const memory = gibibytes(most.memory);
  return PARTS.filter(({ part }) => part === 1 || memory * part >= LEAST_GIB).map(({ name, part }) => ({
    name,
    limits: part === 1 ? null : { cpu: number(cpu * part), memory: `${Math.floor(memory * part * 1024)}Mi` },
    words: `${name}: ${number(cpu * part)} ${cpu * part === 1 ? "core" : "cores"}, ${number(memory * part)} GiB`,
  }));
}

const UNITS: Record<string, number> = {
  "": 1,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  k: 1e3,
  K: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
};

/** "2Gi", "512Mi", "1.5G" in GiB, as the server reads it. */
export function gibibytes(text: string): number {
  const [, count, unit = ""] = /^([0-9.]+)([A-Za-z]*)$/.exec(text) ?? [];
  return (Number(count ?? 0) * (UNITS[unit] ?? 0)) / 2 ** 30;
}

/** "2", "0.5", "500m" in cores. */
export function cores(text: string): number {
  return text.endsWith("m") ? Number(text.slice(0, -1)) / 1000 : Number(text);
}

function number(value: number): string {
  return String(Math.round(value * 100) / 100);
}
