// EmoRobCare's page. Plain JavaScript: what is served is what was written.

const PREFIXES = `PREFIX : <https://w3id.org/emorobcare/ontology#>
PREFIX rdfs: <http://www.w3.org/2000/01/rdf-schema#>`;

const EXAMPLES = {
  eases: `${PREFIXES}
SELECT ?emotion ?activity WHERE {
  ?a :eases ?e ; rdfs:label ?activity .
  ?e rdfs:label ?emotion .
  FILTER(LANG(?activity) = "en" && LANG(?emotion) = "en")
}
ORDER BY ?emotion ?activity`,
  robots: `${PREFIXES}
SELECT ?robot ?activity WHERE {
  ?r a :Robot ; rdfs:label ?robot .
  ?a a :CareActivity ; rdfs:label ?activity .
  FILTER NOT EXISTS { ?a :needs ?c . FILTER NOT EXISTS { ?r :has ?c } }
  FILTER(LANG(?robot) = "en" && LANG(?activity) = "en")
}
ORDER BY ?robot ?activity`,
  emotions: `${PREFIXES}
SELECT ?emotion ?valence ?arousal WHERE {
  ?e a :Emotion ; rdfs:label ?emotion ; :valence ?valence ; :arousal ?arousal .
  FILTER(LANG(?emotion) = "en")
}
ORDER BY ?valence`,
};

const RATE = 16000; // what the recogniser takes
const POLL_MS = 5000;

const find = (id) => document.getElementById(id);
const percent = (score) => `${Math.round(Math.max(0, score) * 100)} %`;

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

// Sentences

function hit({ text, score }) {
  const meter = element("meter", { min: 0, max: 1, value: Math.max(0, score) });
  meter.setAttribute("aria-hidden", "true"); // the number beside it says the same
  return element("li", {}, element("span", { textContent: text }),
    element("span", { className: "score", textContent: percent(score) }), meter);
}

onSubmit(find("search"), find("search-said"), async () => {
  const { results } = await ask(`api/search?${new URLSearchParams({ q: find("q").value, limit: 5 })}`);
  find("hits").replaceChildren(...results.map(hit));
  say(find("search-said"), results.length ? "" : "There are no sentences yet. Add one.");
});

onSubmit(find("add"), find("add-said"), async () => {
  await ask("api/documents", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ text: find("text").value }),
  });
  find("text").value = "";
  say(find("add-said"), "Kept. It is found from now on.");
  await showCount();
});

async function showCount() {
  const { total } = await ask("api/documents?limit=1");
  find("count").textContent = `There are ${total} of them.`;
}

// Speech

const file = find("file");
const player = find("player");
const chosen = () => document.querySelector("input[name=sample]:checked");
let recording = null; // a Blob when the person chose a file of their own

function choose() {
  const isOwn = chosen().value === "";
  if (player.src.startsWith("blob:")) URL.revokeObjectURL(player.src);
  recording = isOwn ? file.files[0] ?? null : null;
  if (recording) player.src = URL.createObjectURL(recording);
  else if (isOwn) player.removeAttribute("src");
  else player.src = chosen().value;
}

find("speech").addEventListener("change", (event) => {
  if (event.target === file) document.querySelector("input[name=sample][value='']").checked = true;
  choose();
});

// A WAV file of 16-bit samples, as in RFC 2361 and Microsoft's multimedia standard.
function wav(samples) {
  const view = new DataView(new ArrayBuffer(44 + samples.length * 2));
  const write = (at, text) => [...text].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  write(0, "RIFF");
  view.setUint32(4, 36 + samples.length * 2, true);
  write(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, RATE, true);
  view.setUint32(28, RATE * 2, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  write(36, "data");
  view.setUint32(40, samples.length * 2, true);
  samples.forEach((s, i) => view.setInt16(44 + i * 2, Math.max(-1, Math.min(1, s)) * 0x7fff, true));
  return new Blob([view], { type: "audio/wav" });
}

// Any recording that the browser can play, as 16 kHz mono. What it cannot play is sent as it is: the service says why not.
async function convert(blob) {
  const context = new AudioContext({ sampleRate: RATE });
  try {
    const sound = await context.decodeAudioData(await blob.arrayBuffer());
    const channels = Array.from({ length: sound.numberOfChannels }, (_, i) => sound.getChannelData(i));
    return wav(channels[0].map((_, i) => channels.reduce((sum, c) => sum + c[i], 0) / channels.length));
  } catch {
    return blob;
  } finally {
    await context.close();
  }
}

onSubmit(find("speech"), find("words"), async () => {
  find("use-words").hidden = true;
  if (chosen().value === "" && !recording) throw new Error("Choose an audio file first.");
  const body = recording ? await convert(recording) : await (await fetch(chosen().value)).blob();
  const { text } = await ask("asr/transcribe", { method: "POST", headers: { "Content-Type": "audio/wav" }, body });
  say(find("words"), text ? `"${text}"` : "No words were heard.");
  find("use-words").hidden = !text;
  find("use-words").onclick = () => {
    find("q").value = text;
    find("search").requestSubmit();
    find("q").focus();
  };
});

// Ontology

const short = (value) => value.replace(/^.*[#/](?=.)/, "");

function cell(binding) {
  if (!binding) return element("td");
  const isIri = binding.type === "uri";
  return element("td", { textContent: isIri ? short(binding.value) : binding.value, title: isIri ? binding.value : "" });
}

function table({ head, results }) {
  const header = head.vars.map((name) => element("th", { scope: "col", textContent: name }));
  const rows = results.bindings.map((row) => element("tr", {}, ...head.vars.map((name) => cell(row[name]))));
  return element("table", {}, element("thead", {}, element("tr", {}, ...header)), element("tbody", {}, ...rows));
}

onSubmit(find("sparql"), find("sparql-said"), async () => {
  find("answer").hidden = true;
  const answer = await ask(`api/sparql?${new URLSearchParams({ query: find("query").value })}`);
  if ("boolean" in answer) {
    say(find("sparql-said"), answer.boolean ? "Yes." : "No.");
    return;
  }
  const count = answer.results.bindings.length;
  say(find("sparql-said"), count === 1 ? "1 row" : `${count} rows`);
  find("answer").replaceChildren(table(answer));
  find("answer").hidden = count === 0;
});

find("example").addEventListener("change", () => {
  find("query").value = EXAMPLES[find("example").value];
});

find("query").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) find("sparql").requestSubmit();
});

// Status

const NAMES = { api: "sentences", asr: "speech" };

async function look(service) {
  try {
    await ask(`${service}/ready`);
    return null;
  } catch (error) {
    const parts = Object.entries(error.answer?.parts ?? {}).filter(([, state]) => state !== "ready");
    return parts.length ? parts.map(([name, state]) => `${name}: ${state}`).join("; ") : error.message;
  }
}

const states = {};

async function showState(service) {
  const problem = await look(service);
  if (states[service] === problem) return; // said already; a screen reader must not hear it again
  states[service] = problem;
  const pill = document.querySelector(`[data-service=${service}]`);
  pill.textContent = `${NAMES[service]}: ${problem === null ? "ready" : "not ready"}`;
  pill.title = problem ?? "";
  pill.classList.toggle("good", problem === null);
  pill.classList.toggle("bad", problem !== null);
  if (service === "api" && problem === null) {
    await showCount();
    if (!find("hits").children.length) find("search").requestSubmit();
  }
}

async function watch() {
  if (!document.hidden) await Promise.allSettled(Object.keys(NAMES).map(showState));
  setTimeout(watch, POLL_MS);
}

find("query").value = EXAMPLES.eases;
choose();
watch();
