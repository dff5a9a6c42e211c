/** How a model looks wherever it is shown: one of the colours of series.css, plain or striped. */
export interface Look {
  /** 1 to COLOURS. */
  colour: number;
  striped: boolean;
}

export const COLOURS = 8;

/** A number that is the same for the same name everywhere (FNV-1a). */
function hash(name: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < name.length; index += 1) {
    value = Math.imul(value ^ name.charCodeAt(index), 0x01000193) >>> 0;
  }
  return value;
}

/** Every second colour is striped, so that hue is not all that tells them apart; a second round the other way. */
function lookOf(place: number): Look {
  const colour = place % COLOURS;
  const secondRound = Math.floor(place / COLOURS) % 2 === 1;
  return { colour: colour + 1, striped: (colour % 2 === 1) !== secondRound };
}

/**
 * A look for each model. A model keeps its look from day to day and page to page: it follows from the name, except
 * where another model that comes before it in the alphabet already has it.
 */
export function looksOf(models: readonly string[]): ReadonlyMap<string, Look> {
  const looks = new Map<string, Look>();
  const taken = new Set<number>();
  for (const model of [...models].sort()) {
    if (looks.has(model)) continue;
    const round = Math.floor(taken.size / COLOURS) * COLOURS;
    let place = hash(model) % COLOURS;
    while (taken.has(round + place)) place = (place + 1) % COLOURS;
    taken.add(round + place);
    looks.set(model, lookOf(round + place));
  }
  return looks;
}

export function colourOf(look: Look): string {
  return `var(--series-${look.colour})`;
}
