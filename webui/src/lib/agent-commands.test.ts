import { describe, expect, it } from "vitest";
import { startAgain, waysToConnect } from "./agent-commands";

const ORIGIN = "https://agents.example.com:8443";
const CODE = "7K2M-9QXA-04TD";
const WHEEL = "/agent/cli_server-0.1.0-py3-none-any.whl";
const FILE = "/agent/cli-server-agent.pyz";

describe("waysToConnect", () => {
  it("writes each command as it is to be run", () => {
    const ways = waysToConnect({ wheel: WHEEL, file: FILE }, ORIGIN, CODE);
    expect(ways.map(({ way, install, connect }) => [way, install, connect])).toEqual([
      [
        "pip",
        `python3 -m pip install ${ORIGIN}/agent/cli_server-0.1.0-py3-none-any.whl`,
        `cli-server agent connect --server ${ORIGIN} --code ${CODE}`,
      ],
      [
        "file",
        `curl -fLO ${ORIGIN}/agent/cli-server-agent.pyz`,
        `python3 cli-server-agent.pyz connect --server ${ORIGIN} --code ${CODE}`,
      ],
      [
        "source",
        "python3 -m pip install ./cli-server",
        `cli-server agent connect --server ${ORIGIN} --code ${CODE}`,
      ],
    ]);
  });

  it.each([
    [{ wheel: null, file: null }, ["source"]],
    [{ wheel: WHEEL, file: null }, ["pip", "source"]],
    [{ wheel: null, file: FILE }, ["file", "source"]],
  ])("offers no file that is not there: %j", (downloads, ways) => {
    expect(waysToConnect(downloads, ORIGIN, CODE).map(({ way }) => way)).toEqual(ways);
  });
});

describe("startAgain", () => {
  it("says which registration", () =>
    expect(startAgain("abc123")).toBe("cli-server agent connect --name abc123"));
});
