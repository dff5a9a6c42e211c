import type { Block } from "./buffer";

/** More marks than these make a page slow, and nobody steps through them; the last ones are kept. */
export const MOST_MATCHES = 2000;

export interface Match {
  /** The number of the first line of its block. */
  readonly block: number;
  /** Where in the block's text it begins. */
  readonly at: number;
}

export interface Found {
  readonly matches: readonly Match[];
  /** There are more before these. */
  readonly more: boolean;
}

const NOTHING: readonly number[] = [];

/** Finds one text, whatever its case. Blocks that have not changed are not searched again. */
export class Finder {
  readonly #pattern: RegExp | null;
  readonly #known = new WeakMap<Block, readonly number[]>();

  constructor(readonly query: string) {
    const literal = query.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    this.#pattern = query === "" ? null : new RegExp(literal, "gi");
  }

  /** Where in the block's text it stands. The same array for the same block. */
  in(block: Block): readonly number[] {
    if (this.#pattern === null) return NOTHING;
    const known = this.#known.get(block);
    if (known !== undefined) return known;
    const found = [...block.text.matchAll(this.#pattern)].map((match) => match.index);
    const places = found.length === 0 ? NOTHING : found;
    this.#known.set(block, places);
    return places;
  }

  /** The last matches in all blocks, in their order. */
  all(blocks: readonly Block[]): Found {
    const parts: Match[][] = [];
    let left = MOST_MATCHES;
    for (const block of blocks.toReversed()) {
      const places = this.in(block);
      const taken = left === 0 ? [] : places.slice(-left);
      parts.push(taken.map((at) => ({ block: block.first, at })));
      left -= taken.length;
      if (taken.length < places.length) return { matches: parts.reverse().flat(), more: true };
    }
    return { matches: parts.reverse().flat(), more: false };
  }
}

/** The place of `match` among `matches`: of the first one that is not before it, when it is gone. -1: after the last. */
export function placeOf(matches: readonly Match[], match: Match): number {
  return matches.findIndex(
    (one) => one.block > match.block || (one.block === match.block && one.at >= match.at),
  );
}

/** The next match, or the one before (`by` = -1), round and round. To begin with the last: the newest. */
export function step(matches: readonly Match[], from: Match | null, by: 1 | -1): Match | null {
  if (matches.length === 0) return null;
  if (from === null) return matches.at(-1) ?? null;
  const place = placeOf(matches, from);
  const next = (place === -1 ? matches.length - 1 : place) + by;
  return matches.at(next % matches.length) ?? null;
}
