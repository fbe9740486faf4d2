// Emotion's page. Plain JavaScript: what is served is what was written.

const POLL_MS = 5000;
const LONGEST = 1280; // pixels of a picture that is sent

const find = (id) => document.getElementById(id);
const percent = (share) => `${Math.round(share * 100)} %`;

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
  if (!response.ok) throw Object.assign(new Error(answer.detail ?? `The service answered ${response.status}.`), { answer });
  return answer;
}

function say(place, text, isError = false) {
  place.textContent = text;
  place.classList.toggle("error", isError);
}

// Picture

// What was chosen, or the sample, turned upright and no larger than is of use.
async function picture() {
  const chosen = find("file").files[0] ?? await (await fetch("sample.jpg")).blob();
  const bitmap = await createImageBitmap(chosen).catch(() => {
    throw new Error("This file is no picture that this browser can read.");
  });
  const scale = Math.min(1, LONGEST / Math.max(bitmap.width, bitmap.height));
  const canvas = find("picture");
  canvas.width = Math.round(bitmap.width * scale);
  canvas.height = Math.round(bitmap.height * scale);
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9));
}

function frame({ left, top, size }, number) {
  const context = find("picture").getContext("2d");
  context.lineWidth = Math.max(2, size / 40);
  context.strokeStyle = "#5ecfc3";
  context.strokeRect(left, top, size, size);
  context.font = `${Math.max(14, size / 6)}px sans-serif`;
  context.fillStyle = "#5ecfc3";
  context.fillText(number, left + 4, top + Math.max(14, size / 6));
}

function bar(name, share) {
  const meter = element("meter", { min: 0, max: 1, value: share });
  meter.setAttribute("aria-hidden", "true"); // the number beside it says the same
  return [element("dt", { textContent: name }), meter, element("dd", { textContent: percent(share) })];
}

function face({ emotion, emotions, stress, stress_level: level }, index) {
  const bars = Object.entries(emotions).sort(([, one], [, other]) => other - one).flatMap(([name, share]) => bar(name, share));
  return element("article", { className: "face" },
    element("h3", { textContent: `Face ${index + 1}: ${emotion}, stress ${level} (${percent(stress)})` }),
    element("dl", { className: "bars" }, ...bars));
}

let token = null;

async function headers() {
  if (!find("keep").checked) return {};
  token ??= (await ask("api/sessions", { method: "POST" })).token;
  return { Authorization: `Bearer ${token}` };
}

find("look").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = find("look").querySelector("button");
  if (button.disabled) return;
  button.disabled = true;
  say(find("look-said"), "");
  find("faces").replaceChildren();
  try {
    const body = await picture();
    const { faces } = await ask("api/detect", { method: "POST", body, headers: await headers() });
    faces.forEach(({ box }, index) => frame(box, index + 1));
    find("faces").replaceChildren(...faces.map(face));
    if (!faces.length) say(find("look-said"), "No face was found. It must be upright, seen from the front, and not too small.");
    if (find("keep").checked) await showHistory();
  } catch (error) {
    say(find("look-said"), error.message, true);
  } finally {
    button.disabled = false;
  }
});

// History

async function showHistory() {
  const { results } = await ask("api/history", { headers: await headers() });
  const row = ({ timestamp, emotion, stress }) => element("tr", {},
    element("td", { textContent: new Date(timestamp).toLocaleString() }),
    element("td", { textContent: emotion }), element("td", { textContent: percent(stress) }));
  const head = ["When", "Emotion", "Stress"].map((name) => element("th", { scope: "col", textContent: name }));
  find("history").replaceChildren(element("table", {},
    element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...results.map(row))));
  say(find("history-said"), results.length ? "" : "Nothing was kept yet.");
}

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
}

async function watch() {
  if (!document.hidden) await showState();
  setTimeout(watch, POLL_MS);
}

watch();
