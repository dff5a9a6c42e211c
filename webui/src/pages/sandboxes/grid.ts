import { type FocusEvent, type KeyboardEvent, type RefObject, useEffect, useRef, useState } from "react";
import { successor } from "./selection";

// The keyboard of the list, as the authoring practices have it for a grid: one row is in the order of the Tab key, with
// its controls; up and down go from row to row, left and right through the controls of one.

/** So many rows up or down; what fits on a small laptop's screen. */
const PAGE = 10;
/** The focus is beside the rows while none is shown. */
const NO_ROW = "";
const CONTROLS = "a[href], button, input";

export interface GridKeys {
  /** Of what is shown, in its order. */
  ids: readonly string[];
  onEnter: (id: string, event: KeyboardEvent) => void;
  onSpace: (id: string) => void;
  /** From one row to the next with Shift. */
  onExtend: (from: string, to: string) => void;
  onAll: () => void;
  onEscape: () => void;
}

export interface Grid {
  /** The row that the Tab key leads to. */
  active: string | undefined;
  focus: (id: string) => void;
  /** Of what holds the rows and all that acts on them. */
  holder: {
    ref: RefObject<HTMLDivElement | null>;
    onFocus: (event: FocusEvent) => void;
    onBlur: (event: FocusEvent) => void;
    onKeyDown: (event: KeyboardEvent) => void;
  };
}

export function useGrid(keys: GridKeys): Grid {
  const { ids } = keys;
  const ref = useRef<HTMLDivElement>(null);
  const [last, setLast] = useState<string>();
  const active = last !== undefined && ids.includes(last) ? last : ids[0];
  const rowOf = (id: string) => ref.current?.querySelector<HTMLElement>(`[data-row="${id}"]`);
  const focus = (id: string) => {
    setLast(id);
    rowOf(id)?.focus();
  };
  const inside = useKeptFocus(ids, active, focus);

  const onFocus = ({ target }: FocusEvent) => {
    const id = rowAround(target)?.dataset.row;
    inside.current = id ?? active ?? NO_ROW;
    if (id !== undefined) setLast(id);
  };
  const onBlur = ({ relatedTarget }: FocusEvent) => {
    if (!ref.current?.contains(relatedTarget)) inside.current = null;
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const row = rowAround(event.target);
    const id = row?.dataset.row;
    // Keys of a menu come here, too, from outside of the rows.
    if (!row || id === undefined || !ref.current?.contains(row)) return;
    if (pressed(event, row, id, keys, focus)) event.preventDefault();
  };
  return { active, focus, holder: { ref, onFocus, onBlur, onKeyDown } };
}

function rowAround(target: EventTarget): HTMLElement | null {
  return target instanceof Element ? target.closest<HTMLElement>("[data-row]") : null;
}

/** Do what the key says; `true` if it says something. */
function pressed(
  event: KeyboardEvent,
  row: HTMLElement,
  id: string,
  keys: GridKeys,
  focus: (id: string) => void,
): boolean {
  const onRow = event.target === row;
  const command = event.ctrlKey || event.metaKey;
  const to = command || event.altKey ? undefined : destination(event.key, keys.ids, id);
  if (to !== undefined) {
    if (event.shiftKey) keys.onExtend(id, to);
    focus(to);
  } else if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
    stepThrough(row, event.key === "ArrowRight" ? 1 : -1);
  } else if (event.key === "Enter" && onRow) {
    keys.onEnter(id, event);
  } else if (event.key === " " && onRow) {
    keys.onSpace(id);
  } else if (event.key.toLowerCase() === "a" && command) {
    keys.onAll();
  } else if (event.key === "Escape") {
    keys.onEscape();
  } else {
    return false;
  }
  return true;
}

/** The row that a key leads to from another. */
export function destination(key: string, ids: readonly string[], from: string): string | undefined {
  const place = ids.indexOf(from);
  const step = {
    ArrowDown: 1,
    ArrowUp: -1,
    PageDown: PAGE,
    PageUp: -PAGE,
    Home: -ids.length,
    End: ids.length,
  }[key];
  if (step === undefined || place < 0) return undefined;
  return ids[Math.min(Math.max(place + step, 0), ids.length - 1)];
}

function stepThrough(row: HTMLElement, by: 1 | -1): void {
  const stops: (Element | null)[] = [row, ...row.querySelectorAll(CONTROLS)];
  const place = stops.indexOf(document.activeElement);
  const next = stops[Math.min(Math.max(place + by, 0), stops.length - 1)];
  if (next instanceof HTMLElement) next.focus();
}

/** What has the focus may go: a button that makes no sense any more, a row. Its row takes it, or the one that follows. */
function useKeptFocus(ids: readonly string[], active: string | undefined, focus: (id: string) => void) {
  const inside = useRef<string | null>(null);
  const before = useRef(ids);
  useEffect(() => {
    const id = inside.current;
    const lost = document.activeElement === null || document.activeElement === document.body;
    if (id !== null && lost) {
      const next = ids.includes(id) ? id : (successor(before.current, ids, id) ?? active);
      if (next !== undefined) focus(next);
    }
    before.current = ids;
  });
  return inside;
}
