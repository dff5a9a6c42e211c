// What is shown of a log that goes on: text of bounded size, in blocks of which only the last one ever changes.

/** A browser lays them out in tenths of a second, and nobody reads further up than that. */
export const MOST_LINES = 20_000;
/** Twice what the server keeps of a sandbox (2 MiB), so that all of it fits. */
export const MOST_CHARACTERS = 4 * 1024 * 1024;
/** Some twenty screens wide. A longer line is shown as several, because browsers are slow with one that has no end. */
export const LONGEST_LINE = 4000;
/** Enough that there are a hundred blocks at most; few enough that the one which grows is drawn anew at once. */
export const BLOCK_LINES = 200;

/** Lines that stand together. It does not change; another takes its place. */
export interface Block {
  /** The number of its first line, from 0 at the beginning of the log. */
  readonly first: number;
  readonly lines: number;
  readonly text: string;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const ESCAPES = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-Z\\^-~])/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: as above
const UNFINISHED = /\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*|[ -/]*)$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: as above
const CONTROLS = /[\x00-\x08\x0b-\x1f\x7f]/g;

/** A line as a terminal would leave it, without colours: of what overwrites itself the last. */
export function plain(line: string): string {
  const text = line.replace(ESCAPES, "").replace(UNFINISHED, "").replace(/\r+$/, "");
  return text.slice(text.lastIndexOf("\r") + 1).replace(CONTROLS, "");
}

export class LogBuffer {
  readonly #decoder = new TextDecoder();
  #rest = "";
  #blocks: Block[] = [];
  #lines = 0;
  #characters = 0;

  /** Lines that have been there, the unfinished one not counted. */
  get lines(): number {
    return this.#lines;
  }

  /** How many of the first ones are no longer here. */
  get cut(): number {
    return this.#blocks[0]?.first ?? this.#lines;
  }

  /** What there is, with the unfinished line as a block of its own. */
  get blocks(): readonly Block[] {
    const rest = plain(this.#rest);
    return rest === "" ? this.#blocks : [...this.#blocks, { first: this.#lines, lines: 1, text: rest }];
  }

  /** Take the next piece, wherever it is cut. */
  feed(bytes: Uint8Array): void {
    this.#take(this.#decoder.decode(bytes, { stream: true }));
  }

  /** Nothing more comes. */
  end(): void {
    this.#take(this.#decoder.decode());
  }

  #take(text: string): void {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    const whole = lines.flatMap(pieces);
    if (this.#rest.length > LONGEST_LINE) {
      const parts = pieces(this.#rest);
      this.#rest = parts.pop() ?? "";
      whole.push(...parts);
    }
    this.#append(whole.map(plain));
  }

  #append(lines: readonly string[]): void {
    if (lines.length === 0) return;
    const blocks = [...this.#blocks];
    for (let at = 0; at < lines.length; ) {
      const last = blocks.at(-1);
      const open = last !== undefined && last.lines < BLOCK_LINES;
      const more = lines.slice(at, at + BLOCK_LINES - (open ? last.lines : 0));
      const text = more.join("\n");
      if (open) {
        blocks.splice(-1, 1, {
          first: last.first,
          lines: last.lines + more.length,
          text: `${last.text}\n${text}`,
        });
      } else {
        blocks.push({ first: this.#lines + at, lines: more.length, text });
      }
      this.#characters += text.length + (open ? 1 : 0);
      at += more.length;
    }
    this.#lines += lines.length;
    this.#blocks = this.#shortened(blocks);
  }

  #shortened(blocks: Block[]): Block[] {
    let from = 0;
    for (const block of blocks.slice(0, -1)) {
      if (this.#lines - block.first <= MOST_LINES && this.#characters <= MOST_CHARACTERS) break;
      this.#characters -= block.text.length;
      from += 1;
    }
    return from === 0 ? blocks : blocks.slice(from);
  }
}

function pieces(line: string): string[] {
  if (line.length <= LONGEST_LINE) return [line];
  const parts: string[] = [];
  for (let at = 0; at < line.length; at += LONGEST_LINE) parts.push(line.slice(at, at + LONGEST_LINE));
  return parts;
}
