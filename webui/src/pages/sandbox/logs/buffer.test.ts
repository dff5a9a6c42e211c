// @vitest-environment jsdom
import { describe, expect, it } from "vitest";
import { BLOCK_LINES, LONGEST_LINE, LogBuffer, MOST_CHARACTERS, MOST_LINES, plain } from "./buffer";

const bytes = (text: string) => new TextEncoder().encode(text);
const textOf = (buffer: LogBuffer) => buffer.blocks.map((block) => block.text).join("\n");

function fed(...texts: string[]): LogBuffer {
  const buffer = new LogBuffer();
  for (const text of texts) buffer.feed(bytes(text));
  return buffer;
}

describe("plain", () => {
  it.each([
    ["as it is\tso", "as it is\tso"],
    ["\x1b[1;31mred\x1b[0m", "red"],
    ["\x1b]8;;http://x\x1b\\link\x1b]8;;\x07", "link"],
    ["\x1b(Btext\x1b=", "text"],
    ["cut \x1b[3", "cut "],
    ["cut \x1b", "cut "],
    ["10 %\r50 %\r100 %\r", "100 %"],
    ["windows\r", "windows"],
    ["bell\x07 and \x00nul", "bell and nul"],
  ])("%j is %j", (line, text) => expect(plain(line)).toBe(text));
});

describe("LogBuffer", () => {
  it("does not mind where it is cut: in a line, a character or a colour", () => {
    const whole = "grün 🚀\n\x1b[32mok\x1b[0m\r\nlast";
    const data = bytes(whole);
    for (let at = 0; at <= data.length; at += 1) {
      const buffer = new LogBuffer();
      buffer.feed(data.slice(0, at));
      expect(textOf(buffer)).not.toContain("[3");
      buffer.feed(data.slice(at));
      expect(textOf(buffer)).toBe("grün 🚀\nok\nlast");
      expect(buffer.lines).toBe(2);
    }
  });

  it("shows the line that has not ended yet", () => {
    const buffer = fed("one\ntw");
    expect(textOf(buffer)).toBe("one\ntw");
    buffer.feed(bytes("o\n"));
    expect(textOf(buffer)).toBe("one\ntwo");
  });

  it("keeps empty lines", () => expect(textOf(fed("a\n\n\nb\n"))).toBe("a\n\n\nb"));

  it("gives what was cut in a character its sign at the end", () => {
    const buffer = new LogBuffer();
    buffer.feed(bytes("ü").slice(0, 1));
    buffer.end();
    expect(textOf(buffer)).toBe("\ufffd");
  });

  it("changes nothing but the last block", () => {
    const buffer = fed("line\n".repeat(BLOCK_LINES + 1));
    const [first, second] = buffer.blocks;
    buffer.feed(bytes("more\n"));
    expect(buffer.blocks[0]).toBe(first);
    expect(buffer.blocks[1]).not.toBe(second);
    expect(buffer.blocks[1]).toEqual({ first: BLOCK_LINES, lines: 2, text: "line\nmore" });
  });

  it("keeps the last lines and says how many are gone", () => {
    const buffer = new LogBuffer();
    for (let number = 0; number < MOST_LINES + 250; number += 1) buffer.feed(bytes(`${number}\n`));
    expect(buffer.cut).toBe(2 * BLOCK_LINES);
    expect(textOf(buffer).split("\n")[0]).toBe(String(buffer.cut));
    expect(textOf(buffer).split("\n").at(-1)).toBe(String(MOST_LINES + 249));
  });

  it("keeps within its size, and shows a line without end as several", () => {
    const buffer = new LogBuffer();
    const piece = bytes("x".repeat(64 * 1024));
    for (let fedBytes = 0; fedBytes <= 2 * MOST_CHARACTERS; fedBytes += piece.length) buffer.feed(piece);
    const lengths = textOf(buffer)
      .split("\n")
      .map((line) => line.length);
    expect(Math.max(...lengths)).toBe(LONGEST_LINE);
    expect(textOf(buffer).length).toBeLessThanOrEqual(MOST_CHARACTERS + LONGEST_LINE);
    expect(textOf(buffer).length).toBeGreaterThan(MOST_CHARACTERS / 2);
    expect(buffer.cut).toBeGreaterThan(0);
  });
});
