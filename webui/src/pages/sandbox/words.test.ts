import { describe, expect, it } from "vitest";
import { limitsWords, machineFacts } from "./words";

describe("limitsWords", () => {
  it.each([
    ["2", "2Gi", "2 cores, 2 GiB of memory"],
    ["1", "512Mi", "1 core, 512 MiB of memory"],
    ["500m", "1.5G", "0.5 cores, 1.5 GB of memory"],
    ["1", "134217728", "1 core, 134217728 bytes of memory"],
    [null, null, null],
  ])("%s, %s", (cpu, memory, words) => expect(limitsWords({ cpu, memory })).toBe(words));
});

describe("machineFacts", () => {
  it("has an order, and keeps what it does not know", () => {
    const info = {
      zebra: "z",
      os: "Linux 6.1",
      agentVersion: "0.1.0",
      hostname: "laptop",
      editor: "vi",
      arch: "",
    };
    expect(machineFacts(info).map(({ name, value }) => `${name}: ${value}`)).toEqual([
      "Host name: laptop",
      "System: Linux 6.1",
      "Agent: 0.1.0",
      "editor: vi",
      "zebra: z",
    ]);
  });

  it("takes no key for something else, whatever a machine calls it", () => {
    const info = JSON.parse('{"__proto__": "a", "constructor": "b", "toString": "c"}');
    expect(machineFacts(info).map(({ name, value }) => `${name}: ${value}`)).toEqual([
      "__proto__: a",
      "constructor: b",
      "toString: c",
    ]);
  });

  it("knows nothing of a machine that has not been there", () => expect(machineFacts(null)).toEqual([]));
});
