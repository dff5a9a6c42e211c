export type Cell = string | number;

/**
 * Rows as RFC 4180 has it. A spreadsheet takes a text that begins like a formula for one and runs it; names come from
 * others, so such a text gets an apostrophe in front, which spreadsheets read as "this is text". In the middle of one, too:
 * where the decimal sign is a comma, a spreadsheet parts cells at semicolons and takes no notice of our quotes.
 */
export function csv(rows: readonly (readonly Cell[])[]): string {
  return rows.map((row) => `${row.map(written).join(",")}\r\n`).join("");
}

function written(cell: Cell): string {
  if (typeof cell === "number") return String(cell);
  const inside = cell.replace(/(;|(?<!^\s*)[\t\r\n])["\s]*(?=[=+\-@＝＋－＠])/g, "$&'");
  const text = /^\s*[=+\-@＝＋－＠]|^[\t\r\n]/.test(cell) ? `'${inside}` : inside;
  return /[",\r\n']/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** A file name that every system takes: what is no letter, digit, dot or dash becomes a dash. */
export function fileName(...parts: readonly string[]): string {
  const plain = parts.map((part) => part.replace(/[^\p{L}\p{N}.]+/gu, "-").replace(/^[-.]+|[-.]+$/g, ""));
  return plain.filter(Boolean).join("-");
}
