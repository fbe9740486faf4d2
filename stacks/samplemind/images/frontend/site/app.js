// SampleMind's page. Plain JavaScript: what is served is what was written.

const POLL_MS = 5000;
const WAIT_SECONDS = 20;

const find = (id) => document.getElementById(id);

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// One request. Throws an Error whose message a person can use.
async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("This machine does not answer. Is it switched on and on this network?");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    const detail = typeof answer.detail === "string" ? answer.detail : `The service answered ${response.status}.`;
    throw Object.assign(new Error(detail), { answer });
  }
  return answer;
}

function say(place, text, isError = false) {
  place.textContent = text;
  place.classList.toggle("error", isError);
}

// Samples

function link({ id, name }) {
  const button = element("button", { className: "link", type: "button", textContent: name });
  button.addEventListener("click", () => show(id));
  return button;
}

const WORDS = {
  duration: ["Duration", (value) => `${value.toFixed(2)} s`],
  tempo: ["Tempo", (value) => (value ? `${Math.round(value)} beats a minute` : "no beat")],
  centroid: ["Brightness", (value) => `${Math.round(value)} Hz`],
  rolloff: ["85 % of the energy is below", (value) => `${Math.round(value)} Hz`],
  rms: ["Loudness (RMS)", (value) => `${Math.round(value * 100)} %`],
  peak: ["Peak", (value) => `${Math.round(value * 100)} %`],
};

async function show(id) {
  try {
    const sample = await ask(`api/samples/${id}`);
    find("features").replaceChildren();
    find("similar").replaceChildren();
    find("similar-title").hidden = true;
    find("player").src = `api/samples/${id}/sound`;
    find("player").hidden = false;
    say(find("sample-said"), sample.state === "done" ? sample.name : `${sample.name}: ${sample.state} ${sample.problem}`);
    if (sample.state !== "done") return;
    find("features").replaceChildren(...Object.entries(WORDS).flatMap(([key, [word, text]]) =>
      [element("dt", { textContent: word }), element("dd", { textContent: text(sample.features[key]) })]));
    const { similar } = await ask(`api/samples/${id}/similar`);
    find("similar-title").hidden = similar.length === 0;
    find("similar").replaceChildren(...similar.map((one) => element("li", {}, link(one),
      element("span", { className: "score", textContent: `${Math.round(one.alike * 100)} %` }))));
  } catch (error) {
    say(find("sample-said"), error.message, true);
  }
}

async function list() {
  const { samples } = await ask("api/samples");
  find("list").replaceChildren(...samples.map((one) => element("li", {}, link(one),
    element("span", { className: "score", textContent: one.state }))));
  say(find("list-said"), samples.length ? "" : "There are no samples yet.");
}

find("add").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = find("add").querySelector("button");
  if (button.disabled) return;
  button.disabled = true;
  say(find("add-said"), "");
  try {
    const file = find("file").files[0];
    const body = file ?? await (await fetch("sine-440.wav")).blob();
    const query = new URLSearchParams({ name: file?.name ?? "Tone of 440 Hz", wait: WAIT_SECONDS });
    const sample = await ask(`api/samples?${query}`, { method: "POST", body });
    say(find("add-said"), sample.state === "waiting" ? "It waits for its turn." : "");
    await Promise.all([show(sample.id), list()]);
  } catch (error) {
    say(find("add-said"), error.message, true);
  } finally {
    button.disabled = false;
  }
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
  const text = `service: ${problem ? "not ready" : "ready"}`;
  if (shown === text + problem) return; // said already; a screen reader must not hear it again
  shown = text + problem;
  const pill = document.querySelector("[data-service=api]");
  pill.textContent = text;
  pill.title = problem;
  pill.classList.toggle("good", !problem);
  pill.classList.toggle("bad", Boolean(problem));
  if (!problem) await list().catch((error) => say(find("list-said"), error.message, true));
}

async function watch() {
  if (!document.hidden) await showState();
  setTimeout(watch, POLL_MS);
}

watch();
