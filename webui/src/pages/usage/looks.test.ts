import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { COLOURS, looksOf } from "./looks";

describe("the look of a model", () => {
  it("does not depend on the order or the number of times that models are named", () => {
    const names = ["claude-sonnet-4-5", "claude-haiku-4-5", "claude-opus-4-1"];
    expect(looksOf([...names].reverse())).toEqual(looksOf([...names, ...names]));
  });

  it("stays when others come that do not have the same, and is another for each", () => {
    const few = looksOf(["claude-sonnet-4-5"]).get("claude-sonnet-4-5");
    expect(looksOf(["claude-sonnet-4-5", "zzz"]).get("claude-sonnet-4-5")).toEqual(few);
    const many = Array.from({ length: 2 * COLOURS }, (_, index) => `model-${index}`);
    const seen = new Set([...looksOf(many).values()].map((look) => JSON.stringify(look)));
    expect(seen.size).toBe(2 * COLOURS);
  });

  it("is found for any number of models", () =>
    expect(looksOf(Array.from({ length: 100 }, (_, index) => `${index}`)).size).toBe(100));
});

type Triple = [number, number, number];

const blocks = (path: string) => {
  const text = readFileSync(path, "utf8");
  return [...text.matchAll(/\{\s*((?:[^{}]*--[a-z0-9-]+:[^{}]*)+)\}/g)].map(
    (block) =>
      new Map([...(block[1] ?? "").matchAll(/--([a-z0-9-]+): (#[0-9a-f]{6})/g)].map((m) => [m[1], m[2]])),
  );
};

function linear(hex: string): Triple {
  const part = (from: number) => {
    const value = Number.parseInt(hex.slice(from, from + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  };
  return [part(1), part(3), part(5)];
}

const dot = (a: Triple, b: Triple) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const luminance = (colour: Triple) => dot(colour, [0.2126, 0.7152, 0.0722]);

function contrast(one: string, other: string): number {
  const [low, high] = [luminance(linear(one)), luminance(linear(other))].sort((a, b) => a - b);
  return ((high ?? 0) + 0.05) / ((low ?? 0) + 0.05);
}

/** Machado, Oliveira and Fernandes (2009), severity 1: no change, protanopia, deuteranopia, tritanopia. */
const EYES: [Triple, Triple, Triple][] = [
  [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ],
  [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
  [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.3039],
  ],
];

/** Where a colour is in OKLab, as these eyes see it. */
function seen(hex: string, eyes: [Triple, Triple, Triple]): Triple {
  const colour = linear(hex);
  const [r, g, b] = eyes.map((row) => Math.min(1, Math.max(0, dot(row, colour)))) as Triple;
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

/** Side by side, a distance of 0.02 is just seen; as far apart as a legend is from its bar, several times that is. */
const APART = 0.09;

describe("the colours", () => {
  const series = blocks("src/pages/usage/series.css");
  const tokens = blocks("../daemon/pages/tokens.css");
  const colour = (block: number, number: number) => series[block]?.get(`series-${number}`) ?? "";
  const numbers = Array.from({ length: COLOURS }, (_, index) => index + 1);

  it("are the same in both dark blocks", () => {
    expect(series).toHaveLength(3);
    expect(series[1]).toEqual(series[2]);
  });

  it.each([0, 1])("stand out from what is behind them (block %i)", (block) => {
    for (const ground of ["surface", "bg"]) {
      const behind = tokens[block]?.get(ground) ?? "";
      for (const number of numbers) expect(contrast(colour(block, number), behind)).toBeGreaterThanOrEqual(3);
    }
  });

  it.each([0, 1])("of one texture are told apart by all eyes (block %i)", (block) => {
    for (const eyes of EYES) {
      for (const one of numbers) {
        for (let other = one + 2; other <= COLOURS; other += 2) {
          const [a, b] = [seen(colour(block, one), eyes), seen(colour(block, other), eyes)];
          const distance = Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
          expect(distance, `${one} and ${other}`).toBeGreaterThanOrEqual(APART);
        }
      }
    }
  });
});
