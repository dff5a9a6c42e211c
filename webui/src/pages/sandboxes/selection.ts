// Which rows are selected, as pure functions: a selection is a set of ids, and never holds one that is not shown.

export type Selection = ReadonlySet<string>;

export const NOTHING: Selection = new Set();

export function toggled(selection: Selection, id: string): Selection {
  const next = new Set(selection);
  if (!next.delete(id)) next.add(id);
  return next;
}

/** All between two rows, both included, beside what is selected already. */
export function extended(
  selection: Selection,
  shown: readonly string[],
  from: string,
  to: string,
): Selection {
  const [start, end] = [shown.indexOf(from), shown.indexOf(to)].sort((a, b) => a - b);
  if (start === undefined || end === undefined || start < 0) return selection;
  return new Set([...selection, ...shown.slice(start, end + 1)]);
}

/** What is done is done to what one sees: ids that went, or that a filter hides, are out. */
export function among(selection: Selection, shown: readonly string[]): Selection {
  return new Set(shown.filter((id) => selection.has(id)));
}

/** Where the focus goes when the row that has it is gone: to the one in its place, or the last. */
export function successor(
  before: readonly string[],
  after: readonly string[],
  gone: string,
): string | undefined {
  const place = before.indexOf(gone);
  const left = new Set(after);
  return before.slice(place + 1).find((id) => left.has(id)) ?? after[after.length - 1];
}
