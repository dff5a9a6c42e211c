import { expect, it } from "vitest";
import { destination } from "./grid";

const IDS = Array.from({ length: 15 }, (_, index) => `r${index}`);

it.each([
  ["ArrowDown", "r3", "r4"],
  ["ArrowUp", "r3", "r2"],
  ["ArrowUp", "r0", "r0"],
  ["ArrowDown", "r14", "r14"],
  ["PageDown", "r3", "r13"],
  ["PageDown", "r10", "r14"],
  ["PageUp", "r3", "r0"],
  ["Home", "r9", "r0"],
  ["End", "r9", "r14"],
  ["x", "r9", undefined],
  ["ArrowDown", "gone", undefined],
])("%s from %s leads to %s", (key, from, to) => expect(destination(key, IDS, from)).toBe(to));
