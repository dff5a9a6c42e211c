import { expect, it } from "vitest";
import { sizes } from "./sizes";
import { NOTHING_CHOSEN, type Wanted, wantedBody } from "./wanted";

const OFFERED = sizes({ cpu: "2", memory: "2Gi" });
const SERVERS = { name: null, cpu: null, memory: null, idleTimeout: null };

it.each<[Partial<Wanted>, object]>([
  [{}, SERVERS],
  [{ name: "  billing " }, { ...SERVERS, name: "billing" }],
  [{ size: "Full" }, SERVERS],
  [{ size: "Half" }, { ...SERVERS, cpu: "1", memory: "1024Mi" }],
  // What was typed before another choice was made does not count.
  [
    { size: "Half", cpu: "0.5", memory: "512Mi" },
    { ...SERVERS, cpu: "1", memory: "1024Mi" },
  ],
  [
    { size: "own", cpu: "0.5" },
    { ...SERVERS, cpu: "0.5" },
  ],
  [{ timeout: "0" }, { ...SERVERS, idleTimeout: "0" }],
  [
    { timeout: "1h", ownTimeout: "3h" },
    { ...SERVERS, idleTimeout: "1h" },
  ],
  [
    { timeout: "own", ownTimeout: "3h" },
    { ...SERVERS, idleTimeout: "3h" },
  ],
])("%o asks for %o", (chosen, body) => {
  expect(wantedBody({ ...NOTHING_CHOSEN, ...chosen }, OFFERED)).toEqual(body);
});
