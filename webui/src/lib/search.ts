/** Whether every word that was typed is somewhere in the text. Case and accents do not count. */
export function matches(text: string, typed: string): boolean {
  const plain = folded(text);
  return words(typed).every((word) => plain.includes(word));
}

/** The words of what was typed, as they are compared. */
export function words(typed: string): string[] {
  return folded(typed).split(/\s+/).filter(Boolean);
}

/** The better matches first: those where a word of the text begins with the first word that was typed. */
export function rank(text: string, typed: string): number {
  const [first = ""] = words(typed);
  const plain = folded(text);
  if (plain.startsWith(first)) return 0;
  return plain.split(/[^\p{L}\p{N}]+/u).some((word) => word.startsWith(first)) ? 1 : 2;
}

function folded(text: string): string {
  return text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
}
