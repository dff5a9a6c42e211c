// The plain page of the main site: sign in, see the sandboxes, create, open, pause, resume and delete them, connect machines.
// What it shows is what the server said last. Everything is set as text, never as HTML.

const byId = (id) => document.getElementById(id);
const MAY_CHANGE = ["owner", "maintainer", "developer"];
const MOVING = ["creating", "pausing", "resuming", "deleting"];
const EVENTS = ["created", "updated", "deleted"].flatMap((what) =>
  ["sandbox", "workspace", "member"].map((kind) => `${kind}.${what}`));

const state = { registering: false, events: null, since: null, timer: 0, refreshing: null, again: false };
const sections = new Map(); // workspace id -> {node, rows, ids, joining}

// --- Talking to the server

class Problem extends Error {
  constructor(status, text, code) {
    super(text);
    this.status = status;
    this.code = code;
  }
}

async function api(method, path, body) {
  const options = { method, headers: { Accept: "application/json" }, credentials: "same-origin" };
  if (body !== undefined || method !== "GET") {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body ?? {});
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Problem(0, "The server does not answer. Nothing was changed as far as this page knows; try again.");
  }
  if (answer.status === 204) return null;
  let content = null;
  try {
    content = await answer.json();
  } catch { /* judged by its status below */ }
  if (answer.ok && content !== null) return content;
  throw new Problem(answer.status, explain(answer, content), content?.code);
}

function explain(answer, content) {
  const text = content?.detail || content?.title || `The server answered with status ${answer.status}.`;
  const seconds = Number(answer.headers.get("Retry-After"));
  if (!(seconds > 0) || /try again in/i.test(text)) return text; // most texts of the server say it themselves
  return `${text} Try again in ${seconds < 100 ? `${seconds} s` : `${Math.ceil(seconds / 60)} min`}.`;
}

// --- Signing in

// Where to go after signing in: a path of this very site, or nowhere.
function wanted() {
  const next = new URLSearchParams(location.search).get("next");
  if (!next || !next.startsWith("/")) return null;
  try {
    const url = new URL(next, location.origin);
    return url.origin === location.origin ? url.pathname + url.search + url.hash : null;
  } catch {
    return null;
  }
}

function showSignIn(text = "") {
  stopEvents();
  for (const { node } of sections.values()) node.remove();
  sections.clear();
  byId("home").hidden = byId("user").hidden = true;
  byId("sign-in").hidden = false;
  byId("sign-in-text").textContent = text || (wanted() ? "Then you go on to where you wanted." : "");
  register(false);
  byId("username").focus();
}

function register(registering) {
  state.registering = registering;
  const title = registering ? "Create an account" : "Sign in";
  byId("sign-in-title").textContent = byId("sign-in-button").textContent = document.title = title;
  byId("other-mode").textContent = registering ? "I have an account" : "Create an account";
  byId("password").autocomplete = registering ? "new-password" : "current-password";
  byId("sign-in-error").hidden = true;
}

byId("other-mode").addEventListener("click", () => {
  register(!state.registering);
  byId("username").focus();
});

byId("sign-in-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = byId("sign-in-button");
  const error = byId("sign-in-error");
  error.hidden = true;
  button.disabled = true;
  const credentials = { username: byId("username").value.trim(), password: byId("password").value };
  try {
    await api("POST", state.registering ? "/api/auth/register" : "/api/auth/login", credentials);
    byId("password").value = "";
    await enter();
  } catch (problem) {
    if (problem.status === 403 && state.registering) {
      register(false);
      byId("other-way").hidden = true; // it is closed for everybody: no use in offering it
    }
    error.textContent = problem.message;
    error.hidden = false;
  } finally {
    button.disabled = false;
  }
});

byId("sign-out").addEventListener("click", async () => {
  try {
    await api("POST", "/api/auth/logout");
    showSignIn("You are signed out.");
  } catch (problem) {
    complain(problem);
  }
});

async function enter() {
  const me = await api("GET", "/api/auth/me");
  const next = location.pathname === "/login" ? wanted() : null;
  if (next && next !== "/" && !next.startsWith("/login")) {
    location.replace(next);
    return;
  }
  if (location.pathname !== "/") history.replaceState(null, "", "/");
  document.title = "Sandboxes · cli-server";
  byId("sign-in").hidden = true;
  byId("home").hidden = byId("user").hidden = false;
  byId("user-name").textContent = me.username;
  await refresh();
  startEvents();
}

// --- Staying up to date

function startEvents() {
  stopEvents();
  const source = state.events = new EventSource("/api/events");
  source.addEventListener("open", () => away(false));
  // "ready": from now on nothing is missed; what happened before is loaded. "reset": something was missed.
  for (const name of ["ready", "reset", ...EVENTS]) source.addEventListener(name, soon);
  source.addEventListener("error", () => {
    away(true);
    if (source.readyState === EventSource.CLOSED && state.events === source) state.timer = setTimeout(reconnect, 3000);
  });
}

function stopEvents() {
  clearTimeout(state.timer);
  state.events?.close();
  state.events = null;
  away(false);
}

// The stream was refused: the session may have ended, or the server is restarting.
async function reconnect() {
  try {
    await api("GET", "/api/auth/me");
    startEvents();
  } catch (problem) {
    if (problem.status === 401) showSignIn("Your session has ended.");
    else state.timer = setTimeout(reconnect, 3000);
  }
}

function away(isAway) {
  state.since = isAway ? state.since ?? new Date() : null;
  byId("away").hidden = !isAway;
  if (isAway) byId("away").textContent = `Not connected since ${state.since.toLocaleTimeString()}. What you see may be old.`;
}

function soon() {
  setTimeout(refresh, 100); // several events often come together
}

// One refresh at a time; what happens meanwhile leads to one more.
async function refresh() {
  if (state.refreshing) {
    state.again = true;
    return state.refreshing;
  }
  state.refreshing = load().finally(() => {
    state.refreshing = null;
    if (state.again) {
      state.again = false;
      refresh();
    }
  });
  return state.refreshing;
}

async function load() {
  if (byId("home").hidden) return; // signed out meanwhile
  try {
    const workspaces = await api("GET", "/api/workspaces");
    const lists = await Promise.all(workspaces.map((workspace) => Promise.all([
      api("GET", `/api/workspaces/${workspace.id}/sandboxes`),
      api("GET", `/api/workspaces/${workspace.id}/usage`).catch(() => null),
    ])));
    keep(sections, workspaces, byId("workspaces"), makeSection, (section, workspace, index) =>
      updateSection(section, workspace, ...lists[index]));
  } catch (problem) {
    if (problem.status === 401) showSignIn("Your session has ended.");
    else if (problem.status !== 404) complain(problem); // 404: a workspace went away under us, an event tells of it
  }
}

// --- Showing it

// Bring `kept` (id -> {node}) and the children of `parent` in line with `items`, without touching what stays.
function keep(kept, items, parent, make, update) {
  const ids = new Set(items.map((item) => item.id));
  for (const [id, entry] of kept) {
    if (!ids.has(id)) {
      entry.node.remove();
      kept.delete(id);
    }
  }
  items.forEach((item, index) => {
    if (!kept.has(item.id)) kept.set(item.id, make(item));
    const entry = kept.get(item.id);
    if (parent.children[index] !== entry.node) parent.insertBefore(entry.node, parent.children[index] ?? null);
    update(entry, item, index);
  });
}

function copy(template) {
  return byId(template).content.firstElementChild.cloneNode(true);
}

function makeSection(workspace) {
  const node = copy("workspace");
  const form = node.querySelector(".create");
  const input = form.querySelector("input");
  input.id = `name-${workspace.id}`;
  form.querySelector("label").htmlFor = input.id;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const name = input.value.trim();
    act(form.querySelector("button"), async () => {
      await api("POST", `/api/workspaces/${workspace.id}/sandboxes`, name ? { name } : {});
      input.value = "";
    });
  });
  const section = { node, rows: new Map(), ids: new Set(), joining: null };
  setUpJoining(section, workspace);
  return section;
}

function updateSection(section, workspace, sandboxes, usage) {
  const { node, rows } = section;
  const may = MAY_CHANGE.includes(workspace.role);
  node.querySelector("h2").textContent = workspace.name;
  node.querySelector(".role").textContent = workspace.role;
  node.querySelector(".create").hidden = node.querySelector(".connect").hidden = !may;
  const empty = node.querySelector(".empty");
  empty.hidden = sandboxes.length > 0;
  empty.textContent = `No sandboxes yet.${may ? " “New sandbox” makes one in some ten seconds; “Connect a machine” joins one of yours." : ""}`;
  keep(rows, sandboxes, node.querySelector(".sandboxes"), makeRow, (row, sandbox) => updateRow(row, sandbox, may));
  updateUsage(node.querySelector(".usage"), usage);
  section.ids = new Set(sandboxes.map((sandbox) => sandbox.id));
  lookForMachine(section, may ? sandboxes : null);
}

function makeRow() {
  return { node: copy("sandbox"), shown: "" };
}

function updateRow(row, sandbox, may) {
  const { node } = row;
  node.className = `sandbox ${sandbox.status} ${MOVING.includes(sandbox.status) ? "moving" : ""}`;
  node.querySelector(".word").textContent = sandbox.status;
  node.querySelector(".name").textContent = sandbox.name;
  const reason = node.querySelector(".reason");
  reason.hidden = !(sandbox.status === "failed" && sandbox.statusReason);
  reason.textContent = sandbox.statusReason ?? "";
  const offline = sandbox.type === "local" && sandbox.status === "offline";
  const seen = offline ? sandbox.lastHeartbeatAt : sandbox.lastActivityAt;
  const since = node.querySelector(".since");
  since.textContent = seen ? `${offline ? "seen" : "used"} ${ago(seen)}` : offline ? "not seen yet" : "not used yet";
  since.title = seen ? new Date(seen).toLocaleString() : "";
  const badge = node.querySelector(".badge");
  badge.hidden = sandbox.type !== "local";
  badge.title = Object.entries(sandbox.agentInfo ?? {}).map(([name, value]) => `${name}: ${value}`).join("\n");
  const hint = node.querySelector(".hint");
  hint.hidden = !offline;
  hint.querySelector("span").textContent = sandbox.lastHeartbeatAt
    ? "Its machine is not connected; nothing on it is lost. Wake it, or start the agent there again:"
    : "Its machine has not connected yet. The agent there says why; it is started by:";
  hint.querySelector("code").textContent = command();
  const shown = `${sandbox.status} ${may} ${sandbox.name}`;
  if (row.shown === shown) return; // the buttons stay, and the focus on them
  row.shown = shown;
  node.querySelector(".actions").replaceChildren(...(may ? actions(sandbox) : []));
}

function actions(sandbox) {
  const path = `/api/sandboxes/${sandbox.id}`;
  const found = [];
  const local = sandbox.type === "local"; // only whose machine it is can start it, so there is nothing to open before
  if (sandbox.status === "running" || (!local && sandbox.status !== "deleting")) {
    found.push(link("Open", `${path}/open`, sandbox, sandbox.status === "running"));
  }
  if (sandbox.type === "cloud" && sandbox.status === "running") found.push(button("Pause", sandbox, () => api("POST", `${path}/pause`)));
  if (sandbox.type === "cloud" && sandbox.status === "paused") found.push(button("Resume", sandbox, () => api("POST", `${path}/resume`)));
  if (sandbox.type === "cloud" && sandbox.status === "failed") {
    found.push(button("Retry", sandbox, () => api("POST", `${path}/resume`)));
    found.push(link("Logs", `${path}/logs`, sandbox, false));
  }
  if (sandbox.status !== "deleting") {
    found.push(button("Delete", sandbox, async () => {
      const text = local
        ? `Delete “${sandbox.name}” from this list? Its machine is disconnected. What runs there and all its files stay as they are.`
        : `Delete “${sandbox.name}”? Its home directory goes with it, for ever. The disk that the workspace shares is kept.`;
      if (confirm(text)) await api("DELETE", path);
    }));
  }
  return found;
}

function button(label, sandbox, run) {
  const node = document.createElement("button");
  node.type = "button";
  node.textContent = label;
  node.setAttribute("aria-label", `${label} ${sandbox.name}`);
  node.addEventListener("click", () => act(node, run));
  return node;
}

function link(label, url, sandbox, primary) {
  const node = document.createElement("a");
  node.className = primary ? "button primary" : "button";
  node.textContent = label;
  node.setAttribute("aria-label", `${label} ${sandbox.name}, in a new tab`);
  node.href = url;
  node.target = "_blank";
  node.rel = "noopener";
  return node;
}

// Do something and show the outcome: pending at once, then what the server says.
async function act(node, run) {
  node.disabled = true;
  byId("notice").hidden = true;
  try {
    await run();
  } catch (problem) {
    if (problem.status === 401) return showSignIn("Your session has ended. Nothing was changed.");
    complain(problem);
  } finally {
    await refresh();
    node.disabled = false;
  }
}

function complain(problem) {
  if (!(problem instanceof Problem)) throw problem; // a mistake of this page's: to the console
  byId("notice").textContent = problem.message;
  byId("notice").hidden = false;
}

function updateUsage(node, usage) {
  node.hidden = usage === null;
  if (usage === null) return;
  const kinds = ["requests", "inputTokens", "outputTokens", "cacheReadTokens", "cacheWriteTokens"];
  const models = new Map();
  for (const day of usage.days) {
    const sums = models.get(day.model) ?? kinds.map(() => 0);
    models.set(day.model, sums.map((sum, index) => sum + day[kinds[index]]));
  }
  const [calls, input, output] = kinds.map((kind) => usage.totals[kind].toLocaleString());
  node.querySelector("summary").textContent = `Usage in 30 days: ${calls} calls, ${input} input and ${output} output tokens`;
  node.querySelector("tbody").replaceChildren(...[...models].sort().map(([model, sums]) => {
    const line = document.createElement("tr");
    for (const text of [model, ...sums.map((sum) => sum.toLocaleString())]) line.insertCell().textContent = text;
    return line;
  }));
}

// --- Connecting a machine

function command(code) {
  return `cli-server agent connect --server ${location.origin}${code ? ` --code ${code}` : ""}`;
}

function setUpJoining(section, workspace) {
  const { node } = section;
  const panel = node.querySelector(".joining");
  const connect = node.querySelector(".connect");
  connect.addEventListener("click", () => act(connect, async () => {
    const { code, expiresAt } = await api("POST", `/api/workspaces/${workspace.id}/agent-code`);
    section.joining = { until: new Date(expiresAt), before: section.ids, machine: null };
    panel.querySelector(".command code").textContent = command(code);
    panel.querySelector(".code").textContent = code;
    panel.querySelector(".copy").textContent = "Copy";
    showJoining(section);
  }));
  panel.querySelector(".close").addEventListener("click", () => {
    section.joining = null;
    showJoining(section);
    connect.focus();
  });
  panel.querySelector(".copy").addEventListener("click", () => copyCommand(panel));
}

// The clipboard is there on https and on localhost only; elsewhere the command is marked, ready to be copied.
async function copyCommand(panel) {
  const source = panel.querySelector(".command code");
  try {
    await navigator.clipboard.writeText(source.textContent);
    panel.querySelector(".copy").textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(source);
    panel.querySelector(".copy").textContent = "Marked: press Ctrl+C";
  }
}

// Has a machine come that was not there before the code was?
function lookForMachine(section, sandboxes) {
  const { joining } = section;
  if (!joining) return;
  if (sandboxes === null) section.joining = null; // no developer any more
  else joining.machine = sandboxes.find((sandbox) => sandbox.type === "local" && !joining.before.has(sandbox.id)) ?? joining.machine;
  showJoining(section);
}

function showJoining({ node, joining }) {
  const panel = node.querySelector(".joining");
  panel.hidden = !joining;
  if (!joining) return;
  const seconds = Math.max(0, Math.round((joining.until - Date.now()) / 1000));
  const { machine } = joining;
  let said = "Waiting for the machine.";
  if (machine?.status === "running") said = `“${machine.name}” is connected.`;
  else if (machine) said = `“${machine.name}” has joined; waiting for its connection.`;
  else if (!seconds) said = "The code has expired, and no machine has come. “Connect a machine” makes a new one.";
  const place = panel.querySelector(".said");
  if (place.textContent !== said) place.textContent = said; // it is read aloud when it changes
  for (const part of panel.querySelectorAll(".offer")) part.hidden = Boolean(machine) || !seconds;
  panel.querySelector(".left").textContent = `works once, for ${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")} more`;
}

setInterval(() => {
  for (const section of sections.values()) if (section.joining) showJoining(section);
}, 1000);

function ago(time) {
  const seconds = Math.max(0, (Date.now() - new Date(time)) / 1000);
  if (seconds < 60) return "just now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

// Times in words and usage change without an event.
setInterval(() => {
  if (!document.hidden && state.events && !state.since) refresh();
}, 30000);

try {
  await enter();
} catch (problem) {
  showSignIn(problem.status === 401 ? "" : problem.message);
}
