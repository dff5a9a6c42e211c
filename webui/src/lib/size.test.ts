import { expect, it } from "vitest";
import { count, sizeWords } from "./size";

it.each([
  [0, "0 bytes"],
  [1, "1 byte"],
  [999, "999 bytes"],
  [1000, "1 kB"],
  [1049, "1 kB"],
  [1050, "1.1 kB"],
  [9949, "9.9 kB"],
  [9951, "10 kB"],
  [812_345, "812 kB"],
  [999_499, "999 kB"],
  [999_500, "1 MB"],
  [4_200_000_000, "4.2 GB"],
  [185_000_000_000, "185 GB"],
  [2e12, "2 TB"],
  [5e18, "5000 PB"],
])("says %i bytes as %s", (bytes, words) => expect(sizeWords(bytes)).toBe(words));

it("counts one and many", () => {
  expect(count(0, "machine")).toBe("0 machines");
  expect(count(1, "sandbox", "sandboxes")).toBe("1 sandbox");
  expect(count(3, "sandbox", "sandboxes")).toBe("3 sandboxes");
});
