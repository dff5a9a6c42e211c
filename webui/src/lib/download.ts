/** Let the browser save a text that the page made. */
export function download(name: string, type: string, text: string): void {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  // The browser has begun to read it once the click is over, but says nowhere when it has ended.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
