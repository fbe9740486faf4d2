// Vitalyst's page. Plain JavaScript: what is served is what was written.

const POLL_MS = 5000;
const SVG = "http://www.w3.org/2000/svg";

const find = (id) => document.getElementById(id);

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function say(place, text, isError = false) {
  place.textContent = text;
  place.classList.toggle("error", isError);
}

// Requests

let token = sessionStorage.getItem("token") ?? "";

// One request. Throws an Error whose message a person can use.
async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: token ? { Authorization: `Bearer ${token}` } : {} });
  } catch {
    throw new Error("This machine does not answer. Is it switched on and on this network?");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    const detail = typeof answer.detail === "string" ? answer.detail : `The service answered ${response.status}.`;
    throw Object.assign(new Error(detail), { answer, status: response.status });
  }
  return answer;
}

// As ask; without a token, one is asked for first. Only a machine for development gives it.
async function asked(path) {
  if (!token) await login("");
  return ask(path);
}

async function login(given) {
  token = given;
  if (!token) {
    try {
      token = (await ask("api/dev/token", { method: "POST" })).token;
    } catch (error) {
      throw new Error(error.status === 404 ? "A token is needed here. Put yours in above." : error.message);
    }
  }
  sessionStorage.setItem("token", token);
}

// Run `work` when the form is sent: one at a time, its errors shown in `place`.
function onSubmit(form, place, work) {
  const button = form.querySelector("button");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    button.disabled = true;
    say(place, "");
    try {
      await work();
    } catch (error) {
      say(place, error.message, true);
    } finally {
      button.disabled = false;
    }
  });
}

onSubmit(find("login"), find("login-said"), async () => {
  await login(find("token").value.trim());
  find("token").value = "";
  await ask("api/entities?limit=1");
  say(find("login-said"), "You are known now.");
});

// Search

function link({ id, label }) {
  const button = element("button", { className: "link", type: "button", textContent: label });
  button.addEventListener("click", () => show(id));
  return button;
}

onSubmit(find("search"), find("search-said"), async () => {
  const { entities } = await asked(`api/entities?${new URLSearchParams({ q: find("q").value })}`);
  find("found").replaceChildren(...entities.map((one) => element("li", {}, link(one), ` (${one.kind})`)));
  say(find("search-said"), entities.length ? "" : "Nothing has that name.");
});

// Neighbourhood

function drawn(name, attributes, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

function map(centre, others) {
  const middle = { x: 180, y: 150 };
  const places = others.map((_, index) => {
    const angle = (2 * Math.PI * index) / others.length - Math.PI / 2;
    return { x: middle.x + 125 * Math.cos(angle), y: middle.y + 115 * Math.sin(angle) };
  });
  const lines = places.map(({ x, y }) => drawn("line", { x1: middle.x, y1: middle.y, x2: x, y2: y }));
  const dot = ({ x, y }, label, r) => [drawn("circle", { cx: x, cy: y, r }), drawn("text", { x, y: y + r + 12 }, label)];
  find("map").replaceChildren(...lines, ...dot(middle, centre.label, 9),
    ...places.flatMap((place, index) => dot(place, others[index].label, 6)));
}

async function show(id) {
  say(find("near-said"), "");
  try {
    const { entity, entities, relations } = await asked(`api/entities/${encodeURIComponent(id)}`);
    const names = Object.fromEntries([entity, ...entities].map((one) => [one.id, one]));
    map(entity, entities);
    find("near").replaceChildren(...relations.map(({ source, type, target }) =>
      element("li", {}, link(names[source]), ` ${type} `, link(names[target]))));
    find("from").value = id;
    say(find("near-said"), `${entity.label} has ${relations.length} relations.`);
  } catch (error) {
    say(find("near-said"), error.message, true);
  }
}

// Path

onSubmit(find("way"), find("way-said"), async () => {
  find("steps").replaceChildren();
  const { path, hops } = await asked(`api/path?${new URLSearchParams({ source: find("from").value, target: find("to").value })}`);
  find("steps").replaceChildren(...(path ?? []).map(({ source, type, target }) =>
    element("li", { textContent: `${source} ${type} ${target}` })));
  say(find("way-said"), path ? `${hops} steps.` : "No way of at most six steps was found.");
});

// Status

let shown = "";

async function showState() {
  let problem = "";
  try {
    await ask("api/ready");
  } catch (error) {
    const parts = Object.entries(error.answer?.parts ?? {}).filter(([, state]) => state !== "ready");
    problem = parts.length ? parts.map(([name, state]) => `${name}: ${state}`).join("; ") : error.message;
  }
  const text = `graph: ${problem ? "not ready" : "ready"}`;
  if (shown === text + problem) return; // said already; a screen reader must not hear it again
  shown = text + problem;
  const pill = document.querySelector("[data-service=api]");
  pill.textContent = text;
  pill.title = problem;
  pill.classList.toggle("good", !problem);
  pill.classList.toggle("bad", Boolean(problem));
}

async function watch() {
  if (!document.hidden) await showState();
  setTimeout(watch, POLL_MS);
}

watch();
