// The commands by which a machine joins. docs/tunnel.md explains them.

export type Way = "pip" | "file" | "source";

/** Paths of what the server has to download, as /api/server names them. */
export interface Downloads {
  wheel: string | null;
  file: string | null;
}

export interface Commands {
  way: Way;
  name: string;
  install: string;
  connect: string;
  /** What is different on some systems. */
  notes: string;
}

const VENV =
  "Debian, Fedora and Homebrew let pip install only into a virtual environment: python3 -m venv agent && . agent/bin/activate.";
const PY = "On Windows, write py in the place of python3.";

/** The ways there are: not those whose file this server does not have. */
export function waysToConnect(downloads: Downloads, origin: string, code: string): Commands[] {
  const words = `connect --server ${origin} --code ${code}`;
  const ways: Commands[] = [];
  if (downloads.wheel !== null) {
    ways.push({
      way: "pip",
      name: "pip",
      install: `python3 -m pip install ${origin}${downloads.wheel}`,
      connect: `cli-server agent ${words}`,
      notes: `${VENV} ${PY}`,
    });
  }
  if (downloads.file !== null) {
    ways.push({
      way: "file",
      name: "One file",
      install: `curl -fLO ${origin}${downloads.file}`,
      connect: `python3 ${fileName(downloads.file)} ${words}`,
      notes:
        "On Windows, write curl.exe and py in the place of curl and python3, and run once: py -m pip install cffi",
    });
  }
  ways.push({
    way: "source",
    name: "From source",
    install: "python3 -m pip install ./cli-server",
    connect: `cli-server agent ${words}`,
    notes: `${VENV} ${PY}`,
  });
  return ways;
}

/** Start a machine's agent again. By the id, because a machine may hold several registrations, and names change. */
export function startAgain(sandboxId: string): string {
  return `cli-server agent connect --name ${sandboxId}`;
}

function fileName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}
