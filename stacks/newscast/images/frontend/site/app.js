// Newscast's page. Plain JavaScript: what is served is what was written.

const POLL_MS = 5000;
const find = (id) => document.getElementById(id);

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function say(place, text, isError = false) {
  if (place.textContent !== text) place.textContent = text; // a screen reader must not hear it again
  place.classList.toggle("error", isError);
}

// One request. Throws an Error whose message a person can use.
async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("This machine does not answer. Is it switched on and on this network?");
  }
  if (!response.ok) {
    const answer = await response.json().catch(() => ({}));
    throw new Error(answer.detail ?? `The service answered ${response.status}.`);
  }
  return response;
}

// Run `work` with its button off, and show its errors in `place`.
async function carryOut(button, place, work) {
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
}

function onSubmit(form, place, work) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    carryOut(form.querySelector("button"), place, work);
  });
}

// Speech

const player = find("player");

async function play(path) {
  say(find("listen-said"), "Speaking…");
  const speech = await (await ask(`${path}?${new URLSearchParams({ voice: find("voice").value })}`)).blob();
  if (player.src) URL.revokeObjectURL(player.src);
  player.src = URL.createObjectURL(speech);
  say(find("listen-said"), "");
  await player.play().catch(() => say(find("listen-said"), "Press play to listen."));
}

onSubmit(find("listen"), find("listen-said"), () => play("api/bulletin"));

// News

function newsItem(item) {
  const button = element("button", { type: "button", textContent: "Play" });
  button.setAttribute("aria-label", `Play: ${item.title}`);
  button.addEventListener("click", () =>
    carryOut(button, find("listen-said"), () => play(`api/items/${item.id}/speech`)));
  const title = item.link
    ? element("a", { href: item.link, rel: "noreferrer", textContent: item.title }) : item.title;
  const when = new Date(item.published).toLocaleString();
  return element("li", {}, element("h3", {}, title),
    element("p", { className: "about", textContent: `${item.feed}, ${when}` }),
    element("p", { textContent: item.summary }), button);
}

function feedItem(feed) {
  const button = element("button", { type: "button", className: "link", textContent: "Remove" });
  button.setAttribute("aria-label", `Remove ${feed.title || feed.url}`);
  button.addEventListener("click", () => carryOut(button, find("subscribe-said"), async () => {
    await ask(`api/feeds/${feed.id}`, { method: "DELETE" });
    await show();
  }));
  const about = feed.problem || feed.url;
  return element("li", {}, element("h3", { textContent: feed.title || feed.url }),
    element("p", { className: "about", textContent: about }), button);
}

onSubmit(find("subscribe"), find("subscribe-said"), async () => {
  const body = JSON.stringify({ url: find("url").value });
  const made = await ask("api/feeds", { method: "POST", headers: { "Content-Type": "application/json" }, body });
  const feed = await made.json();
  find("url").value = "";
  say(find("subscribe-said"), `Subscribed to ${feed.title || feed.url}.`);
  await show();
});

// A list is made anew only when it has changed, or the focus would be lost.
const shown = {};
function replace(id, things, make) {
  const now = JSON.stringify(things);
  if (shown[id] === now) return;
  shown[id] = now;
  find(id).replaceChildren(...things.map(make));
}

async function show() {
  const [news, feeds] = await Promise.all(["api/items?limit=30", "api/feeds"].map(async (path) => (await ask(path)).json()));
  replace("news", news.items, newsItem);
  replace("feeds", feeds.feeds, feedItem);
  say(find("news-said"), news.items.length ? "" : "There is no news yet. Subscribe to a feed.");
}

async function look() {
  let problem = "";
  try {
    await show();
  } catch (error) {
    problem = error.message;
    say(find("news-said"), problem, true);
  }
  say(find("state"), `news: ${problem ? "not ready" : "ready"}`);
  find("state").classList.toggle("good", !problem);
  find("state").classList.toggle("bad", Boolean(problem));
}

async function watch() {
  if (!document.hidden) await look();
  setTimeout(watch, POLL_MS);
}

watch();
