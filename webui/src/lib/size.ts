const UNITS = ["bytes", "kB", "MB", "GB", "TB", "PB"] as const;

/** "0 bytes", "812 kB", "4.2 GB": a size by the powers of ten, as disks are sold and file managers show. */
export function sizeWords(bytes: number): string {
  if (bytes === 1) return "1 byte";
  let value = bytes;
  let unit = 0;
  // What would be rounded to 1000 is one of the next unit.
  while (unit < UNITS.length - 1 && value >= (unit === 0 ? 1000 : 999.5)) {
    value /= 1000;
    unit += 1;
  }
  const shown = unit === 0 ? value : value < 9.95 ? Number(value.toFixed(1)) : Math.round(value);
  return `${shown} ${UNITS[unit]}`;
}

/** "1 sandbox", "3 sandboxes". */
export function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}
