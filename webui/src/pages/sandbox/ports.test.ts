import { describe, expect, it } from "vitest";
import { portOf, portUrl } from "./ports";

describe("portOf", () => {
  it.each([
    ["8000", 8000],
    [" 1024 ", 1024],
    ["65535", 65_535],
    ["1023", null],
    ["65536", null],
    ["99999", null],
    ["8e3", null],
    ["-8000", null],
    ["80.5", null],
    ["", null],
  ])("%j: %s", (text, port) => expect(portOf(text)).toBe(port));
});

describe("portUrl", () => {
  it("keeps scheme, domain and the listener's port", () => {
    const sandbox = { url: "http://oc-a0oc-b1.agents.oc-lab.example:8080/" };
    expect(portUrl(sandbox, 3000)).toBe("http://3000-a0oc-b1.agents.oc-lab.example:8080/");
  });
});
