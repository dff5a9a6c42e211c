const exact = new Intl.NumberFormat();
const short = new Intl.NumberFormat(undefined, { notation: "compact", maximumSignificantDigits: 3 });

/** A count to the last digit, grouped as the person's language does it. */
export function exactNumber(count: number): string {
  return exact.format(count);
}

/** "950", "1.23K", "45.6M": a count where there is little room. The exact one must be near. */
export function shortNumber(count: number): string {
  return short.format(count);
}
