// @vitest-environment jsdom
import { beforeEach, describe, expect, it, vi } from "vitest";
import { stylesheetSingleton } from "./style-singleton";

describe("a style sheet of a library", () => {
  beforeEach(() => {
    // jsdom has no style sheets that are made by scripts.
    vi.stubGlobal(
      "CSSStyleSheet",
      class {
        text = "";
        replaceSync(text: string) {
          this.text = text;
        }
      },
    );
    Object.defineProperty(document, "adoptedStyleSheets", { value: [], writable: true, configurable: true });
  });

  it("is there once, as long as somebody uses it, and is no element", () => {
    const sheet = stylesheetSingleton();
    sheet.add("body{overflow:hidden}");
    sheet.add("body{overflow:hidden}");
    expect(document.adoptedStyleSheets).toHaveLength(1);
    expect(document.querySelector("style")).toBeNull();
    sheet.remove();
    expect(document.adoptedStyleSheets).toHaveLength(1);
    sheet.remove();
    expect(document.adoptedStyleSheets).toHaveLength(0);
  });
});
