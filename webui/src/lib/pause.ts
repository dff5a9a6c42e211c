/** A wait that can be cut short, by whoever holds it. */
export class Pause {
  #wake: (() => void) | null = null;

  /** Until so long has passed, or `end` is called. */
  wait(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  end(): void {
    this.#wake?.();
  }
}
