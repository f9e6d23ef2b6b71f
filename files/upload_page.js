/* The upload page, for browsers that run scripts. Every file goes by tus 1.0, in slices: it goes on
 * where a dropped connection stopped it, also after the page was reloaded, and is there once whatever
 * is sent again. (A form isn't: browsers send it anew on their own when its answer was lost.) One thing
 * is sent at a time. A constant text: its hash stands in the page's policy. */
(() => {
"use strict";

const SLICE = 16 << 20;
const WAITS = [500, 1000, 2000, 4000, 8000]; // ms before each try after a dropped connection
const STALL = 60000;                         // ms without a byte sent: the connection is dead
const $ = (id) => document.getElementById(id);
// The form is never asked: its fields have any name, also those of its own properties.
const input = $("files"), drop = $("drop"), list = $("list"), data = $("page").dataset;
const fields = [...document.querySelectorAll("[data-field]")];
const limit = Number(data.maxSize), most = Number(data.maxFiles), url = new URL(data.action, location).href;
const items = []; // every file of the list: {file, state, sent, failures, …}
let running = null; // the run under way
let current = null; // ends what it waits for

// -- words --

const size = (n) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (n >= 1024 && unit < 4) { n /= 1024; unit++; }
  return `${unit && n < 99.95 ? n.toFixed(1).replace(/\.0$/, "") : Math.round(n)} ${units[unit]}`;
};
const time = (s) => s < 60 ? `${Math.max(1, Math.round(s))} s` :
  s < 3600 ? `${Math.floor(s / 60)} min ${Math.round(s % 60)} s` :
  `${Math.floor(s / 3600)} h ${Math.round(s % 3600 / 60)} min`;
const files = (n) => n === 1 ? "1 file" : `${n} files`;
const say = (text) => { $("live").textContent = text; };
const sum = (of) => of.reduce((n, item) => n + item.file.size, 0);
const those = (...states) => items.filter((item) => states.includes(item.state));

function note(text) {
  $("note").textContent = text;
  $("note").hidden = !text;
}

// -- the list --

function row(item) {
  const element = $("row").content.firstElementChild.cloneNode(true);
  const find = (selector) => element.querySelector(selector);
  item.element = element;
  item.parts = {name: find(".name"), meta: find(".meta"), bar: find("progress"), again: find(".again"), x: find(".icon")};
  item.parts.name.textContent = item.parts.name.title = item.file.name;
  item.parts.bar.setAttribute("aria-label", item.file.name);
  item.parts.again.onclick = () => wait([item]);
  item.parts.x.onclick = () => item.state === "waiting" || item.state === "sending" ? cancel([item]) : remove(item);
  list.append(element);
  show(item, "ready");
}

function show(item, state, text) {
  const {name, meta, bar, again, x} = item.parts, active = state === "waiting" || state === "sending";
  const percent = item.file.size ? Math.floor(item.sent / item.file.size * 100) : 0;
  item.state = state;
  item.text = text;
  item.element.className = state;
  if (state !== "done") {
    const word = text || (state === "sending" ? (item.sent < item.file.size ? `${percent} %` : "finishing") : state === "ready" ? "" : state);
    meta.textContent = word ? `${size(item.file.size)} · ${word}` : size(item.file.size);
  }
  bar.hidden = !active && state !== "stopped";
  bar.value = item.file.size ? item.sent / item.file.size * 1000 : 0;
  again.hidden = !["failed", "stopped", "cancelled"].includes(state);
  again.textContent = state === "stopped" ? "Resume" : "Try again";
  again.setAttribute("aria-label", `${again.textContent}: ${item.file.name}`);
  x.hidden = state === "done";
  x.setAttribute("aria-label", `${active ? "Cancel" : "Remove"} ${item.file.name}`);
  if (state === "done" && item.result) {
    const {url: link, type, sha256} = item.result;
    if (link) {
      const a = document.createElement("a");
      a.href = link;
      a.textContent = item.file.name;
      name.replaceChildren(a);
    }
    meta.textContent = [size(item.file.size), type].filter(Boolean).join(" · ");
    if (sha256) {
      const code = document.createElement("code");
      code.textContent = `sha256 ${sha256.slice(0, 12)}…`;
      code.title = sha256;
      meta.append(" · ", code);
    }
  }
}

function update() {
  const ready = those("ready"), again = running || ready.length ? [] : those("failed", "stopped");
  const button = $("submit"), n = ready.length || again.length;
  list.hidden = !items.length;
  button.disabled = !n;
  button.hidden = !n && items.length > 0;
  button.textContent = again.length ? `Try again (${files(n)})` : n ? `Upload ${files(n)} (${size(sum(ready))})` : "Upload";
}

function add(chosen) {
  const room = () => most - those("ready", "waiting", "sending").length, problems = [];
  note("");
  $("summary").hidden = true;
  if (!input.multiple)
    those("ready").forEach(remove);
  for (const file of chosen) {
    if (items.some((i) => i.state !== "cancelled" && i.file.name === file.name && i.file.size === file.size &&
                          i.file.lastModified === file.lastModified))
      continue;
    if (file.size > limit)
      problems.push(`“${file.name}” is too large: it has ${size(file.size)}, at most ${size(limit)} are taken.`);
    else if (room() <= 0)
      problems.push(`“${file.name}” was left out: at most ${files(most)} at a time.`);
    else {
      const item = {file, sent: 0, failures: 0};
      items.push(item);
      row(item);
    }
  }
  note(problems.slice(0, 3).join(" ") + (problems.length > 3 ? ` So were ${files(problems.length - 3)} more.` : ""));
  update();
}

function remove(item) {
  if (item.state === "stopped" || item.state === "failed")
    abandon(item);
  items.splice(items.indexOf(item), 1);
  item.element.remove();
  update();
}

// -- requests --

class Problem extends Error { // what the server said, in words
  constructor(xhr) {
    super(`The server answered ${xhr.status}.`);
    this.status = xhr.status;
    this.wait = Number(xhr.getResponseHeader("Retry-After")) * 1000 || 0;
    try {
      const {title, detail} = JSON.parse(xhr.responseText);
      this.message = [title, detail].filter(Boolean).join(": ") + ".";
    } catch { /* no problem+json: the number has to do */ }
  }
  get passing() { // it may go better later
    return [408, 409, 423, 429].includes(this.status) || this.status >= 500 && this.status !== 507;
  }
}
class Dropped extends Error {
  get passing() { return true; }
}
class Cancelled extends Error {}

function headers(more) {
  const token = $("token");
  return {"X-CSRF-Token": $("csrf").value, "Accept": "application/json",
          ...token && {"Authorization": `Bearer ${token.value}`}, ...more};
}
const tus = (more) => headers({"Tus-Resumable": "1.0.0", ...more});

// Answers with the request once it was answered with one of `good`.
function send(method, to, head, body, good, progress) {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    let clock, cancelled = false;
    const alive = () => {
      clearTimeout(clock);
      clock = setTimeout(() => xhr.abort(), STALL);
    };
    current = () => { cancelled = true; xhr.abort(); };
    xhr.open(method, to);
    for (const name in head)
      xhr.setRequestHeader(name, head[name]);
    if (progress && body) {
      alive();
      xhr.upload.onprogress = (event) => { alive(); progress(event.loaded, event.total); };
      xhr.upload.onload = () => clearTimeout(clock); // from here on the server has its own time
    }
    xhr.onloadend = () => {
      clearTimeout(clock);
      current = null;
      if (good.includes(xhr.status))
        resolve(xhr);
      else
        reject(cancelled ? new Cancelled() : xhr.status ? new Problem(xhr) : new Dropped("The connection was lost."));
    };
    xhr.send(body);
  });
}

// Until the time is over, the browser is online again, or somebody cancels.
const pause = (ms) => new Promise((resolve, reject) => {
  const end = (finish) => {
    clearTimeout(clock);
    removeEventListener("online", online);
    current = null;
    finish();
  };
  const clock = setTimeout(() => end(resolve), ms), online = () => end(resolve);
  addEventListener("online", online);
  current = () => end(() => reject(new Cancelled()));
});

// -- tus --

// Where uploads that were begun are, so that a reloaded page finds them.
const place = `upload ${new URL(url).pathname} `;
const key = (file) => `${place}${file.size} ${file.lastModified} ${file.name}`;
const memory = (act) => { try { return act(localStorage); } catch { return null; } }; // may be forbidden

function abandon(item) {
  if (item.url)
    fetch(item.url, {method: "DELETE", headers: tus(), keepalive: true}).catch(() => {}); // it expires anyway
  item.url = null;
  memory((m) => m.removeItem(key(item.file)));
}

const base64 = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));

function metadata(file) {
  const values = {};
  for (const field of fields)
    values[encodeURIComponent(field.name)] = field.value; // keys have no blank, no comma, no umlaut
  Object.assign(values, {filename: file.name, filetype: file.type});
  return Object.entries(values).map(([name, value]) => value ? `${name} ${base64(value)}` : name).join(",");
}

async function create(item) {
  const xhr = await send("POST", url, tus({"Upload-Length": item.file.size, "Upload-Metadata": metadata(item.file)}),
                         null, [201]);
  item.url = new URL(xhr.getResponseHeader("Location"), url).href;
  memory((m) => m.setItem(key(item.file), item.url));
  return 0;
}

// The offset of an upload that was begun, -1 when there is none any more.
async function where(item) {
  if (!item.url)
    item.url = memory((m) => m.getItem(key(item.file)));
  if (!item.url)
    return -1;
  try {
    const xhr = await send("HEAD", item.url, tus(), null, [200, 204]);
    return Number(xhr.getResponseHeader("Upload-Offset"));
  } catch (error) {
    if (![403, 404, 410].includes(error.status))
      throw error;
    item.url = null;
    memory((m) => m.removeItem(key(item.file)));
    return -1;
  }
}

async function slices(item) {
  const {file} = item;
  let offset = await where(item), xhr;
  if (offset < 0)
    offset = await create(item);
  else if (offset > item.sent)
    running.samples = []; // what had come before is no speed
  do {
    if (offset > (item.kept || 0))
      item.failures = 0; // it gets on
    const from = item.kept = item.sent = offset;
    show(item, "sending");
    xhr = await send("PATCH", item.url,
                     tus({"Upload-Offset": from, "Content-Type": "application/offset+octet-stream"}),
                     file.slice(from, from + SLICE), [204], (loaded) => {
                       item.sent = Math.min(from + loaded, file.size);
                       tick();
                     });
    offset = Number(xhr.getResponseHeader("Upload-Offset"));
  } while (offset < file.size);
  memory((m) => m.removeItem(key(file)));
  finish(item, await told(xhr));
}

// What the server says of a file that is whole: the type is told by who gives it out.
async function told(xhr) {
  const link = xhr.getResponseHeader("Content-Location");
  const [, digest] = /sha-256=:([^:]+):/.exec(xhr.getResponseHeader("Repr-Digest")) || [];
  const sha256 = digest && Array.from(atob(digest), (c) => c.charCodeAt(0).toString(16).padStart(2, "0")).join("");
  const head = link && await send("HEAD", link, headers(), null, [200]).catch((error) => {
    if (error instanceof Cancelled)
      throw error;
  });
  return {url: link, sha256, type: head && head.getResponseHeader("Content-Type")};
}

// Tells of uploads that an earlier visit left, and forgets those that are gone.
async function greet() {
  const left = memory((m) => Object.keys(m).filter((k) => k.startsWith(place))) || [], names = [];
  for (const k of left) {
    const answer = await fetch(memory((m) => m.getItem(k)), {method: "HEAD", headers: tus()}).catch(() => null);
    if (answer && [404, 410].includes(answer.status))
      memory((m) => m.removeItem(k));
    else
      names.push(`“${k.slice(place.length).split(" ").slice(2).join(" ")}”`);
  }
  $("begun").textContent = `Not finished yet: ${names.join(", ")}. Choose the same again to go on where it stopped.`;
  $("begun").hidden = !names.length;
}

// -- the run --

// Does it again after what may go better later, until the visitor is asked.
async function patiently(item) {
  item.failures = 0;
  for (;;) {
    try {
      return await slices(item);
    } catch (error) {
      if (!error.passing)
        throw error;
      if (item.failures === WAITS.length) {
        show(item, "stopped", error.message);
        say(`${item.file.name}: ${error.message}`);
        return;
      }
      const ms = Math.max(WAITS[item.failures++], error.wait || 0);
      show(item, "sending", `${error.message} Trying again in ${time(ms / 1000)}.`);
      await pause(ms);
    }
  }
}

function finish(item, result) {
  item.sent = item.file.size;
  item.result = result;
  show(item, "done");
  say(`${item.file.name} was uploaded.`);
}

async function next(item) {
  show(item, "sending");
  try {
    await patiently(item);
  } catch (error) {
    if (error instanceof Cancelled) // whoever cancelled says so
      return;
    abandon(item);
    item.sent = 0;
    show(item, "failed", error.message);
    say(`${item.file.name}: ${error.message}`);
  }
}

const fresh = () => those("done").filter((item) => !item.past);

async function run() {
  running = {samples: [{now: performance.now(), sent: 0}], said: 0};
  for (const item of those("done"))
    item.past = true;
  $("summary").hidden = true;
  $("overall").hidden = false;
  const clock = setInterval(tick, 500);
  for (let item; (item = those("waiting")[0]);) {
    await next(item);
    update();
  }
  clearInterval(clock);
  running = null;
  $("overall").hidden = true;
  const done = fresh().length, bad = those("failed", "stopped").length;
  if (done) {
    $("summary").firstElementChild.textContent = `${files(done)} uploaded${bad ? `, ${bad} not` : ""}.`;
    $("summary").hidden = false;
    say($("summary").firstElementChild.textContent);
  }
  update();
}

function wait(chosen) {
  for (const item of chosen)
    show(item, "waiting");
  update();
  if (!running)
    run();
}

// Progress, speed over the last ten seconds, and what is left of the time.
function tick() {
  if (!running)
    return;
  const active = those("waiting", "sending"), done = fresh();
  const all = sum(active) + sum(done), sent = [...active, ...done].reduce((n, item) => n + item.sent, 0);
  const now = performance.now(), samples = running.samples, last = samples[samples.length - 1];
  for (const item of those("sending")) {
    show(item, "sending", item.sent === item.shown ? item.text : undefined);
    item.shown = item.sent;
  }
  if (!last || now - last.now >= 250)
    samples.push({now, sent});
  while (samples.length > 2 && now - samples[0].now > 10000 || samples.length && samples[0].sent > sent)
    samples.shift();
  const first = samples[0], seconds = first ? (now - first.now) / 1000 : 0;
  const speed = seconds > 0.5 ? (sent - first.sent) / seconds : 0;
  const percent = all ? Math.floor(sent / all * 100) : 0;
  $("overall").querySelector("progress").value = all ? sent / all * 1000 : 0;
  $("numbers").textContent = `${size(sent)} of ${size(all)}` +
    (speed > 0 ? ` · ${size(speed)}/s · ${time((all - sent) / speed)} left` : "");
  if (percent >= running.said + 25) {
    running.said = percent - percent % 25;
    say(`${running.said} percent uploaded.`);
  }
}

function cancel(chosen) {
  const sending = chosen.some((item) => item.state === "sending");
  if (sending && current)
    current();
  for (const item of chosen) {
    abandon(item);
    item.sent = 0;
    show(item, "cancelled");
  }
  say(`${chosen.map((item) => item.file.name).join(", ")}: cancelled.`);
  update();
}

// -- what the visitor does --

input.onchange = () => {
  add([...input.files]);
  input.value = "";
};
addEventListener("submit", (event) => {
  const ready = those("ready");
  event.preventDefault();
  wait(ready.length ? ready : those("failed", "stopped"));
});
$("cancel").onclick = () => cancel(those("waiting", "sending"));
for (const type of ["dragenter", "dragover", "dragleave", "drop"])
  addEventListener(type, (event) => {
    if (![...event.dataTransfer.types].includes("Files"))
      return;
    event.preventDefault();
    drop.classList.toggle("over", type === "dragover" || type === "dragenter");
    if (type !== "drop")
      return;
    const folder = (entry) => entry.webkitGetAsEntry && entry.webkitGetAsEntry()?.isDirectory;
    const entries = [...event.dataTransfer.items].filter((entry) => entry.kind === "file");
    add(entries.filter((entry) => !folder(entry)).map((entry) => entry.getAsFile()));
    if (entries.some(folder))
      note("Folders can't be uploaded: choose the files in them.");
  });
addEventListener("beforeunload", (event) => {
  if (running)
    event.preventDefault();
});

document.documentElement.classList.add("js");
input.required = false;
update();
greet();
})();
