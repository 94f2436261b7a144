// The review page: the list, one clip, its marks. Belongs here: what a person does. Not here: drawing tracks (tracks.js).
// Texts go in as texts, never as HTML: file names, captions and transcripts are strangers' words.

import { drawTracks, element, readOff } from "./tracks.js";

const find = (id) => document.getElementById(id);
const video = find("video"), list = find("list"), filters = find("filters");
const UNDO = "lafid review: own marks of this window";
const SPEECH = "speech_tagged_clips", REST_MS = 250;

let about, clips = [], total = 0, marked = 0, current = null, clip = null, cursor = null, durationS = 1, resting = 0, asked = 0, busy = false;

async function ask(path, body) {
  const told = body && { method: "POST", headers: { "content-type": "application/json", "x-lafid-token": about.token }, body: JSON.stringify(body) };
  let answer;
  try { answer = await fetch(path, told); } catch { throw new Error("the server does not answer: is `lafid review` still running?"); }
  const said = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(said.error), { status: answer.status });
  return said;
}

function tell(text) {
  find("message").textContent = text;
  find("message").hidden = !text;
}

async function trying(work) {
  try { await work(); } catch (error) { tell(error.message); }
}

// ---- the list

const wanted = () => new URLSearchParams([...new FormData(filters)].filter(([, value]) => value));

async function loadList() {
  const number = ++asked, answer = await ask(`/api/clips?${wanted()}`);
  if (number !== asked) return; // a later question is under way
  ({ clips, total, marked } = answer);
  history.replaceState(null, "", `?${wanted()}${location.hash}`);
  showList();
}

async function loadMore() {
  const further = wanted();
  further.set("first", clips.length);
  clips = clips.concat((await ask(`/api/clips?${further}`)).clips);
  showList();
}

function showList() {
  list.replaceChildren(...(clips.length ? clips.map(entry) : [element("li", "no clip is so", "none")]));
  find("more").hidden = clips.length >= total;
  find("bar").max = Math.max(1, total);
  find("bar").value = marked;
  find("counted").textContent = about.marker === null ? `${total} clips` : `${marked} of ${total} clips marked`;
  showCurrent();
}

function entry(one) {
  const made = element("li");
  made.append(
    element("span", one.clip_id, "id"), element("span", one.verdict ?? "", `verdict ${one.verdict ?? ""}`),
    element("span", one.reason ?? one.status, "how"),
    element("span", one.distance === null ? "" : `${(100 * one.distance).toFixed(one.distance < 0.1 ? 1 : 0)} % away`, "far"));
  made.addEventListener("click", () => open(one));
  return made;
}

function showCurrent() {
  clips.forEach((one, index) => {
    const item = list.children[index];
    if (current && one.clip_id === current.clip_id) {
      item.setAttribute("aria-current", "true");
      item.scrollIntoView({ block: "nearest" });
    } else item.removeAttribute("aria-current");
  });
}

async function step(by) {
  const at = clips.findIndex((one) => current && one.clip_id === current.clip_id);
  if (at + by >= clips.length && clips.length < total) await loadMore();
  const next = clips[at < 0 ? 0 : at + by];
  if (next) open(next);
  return Boolean(next);
}

// ---- one clip

function open(one) {
  current = { shard: one.shard, clip_id: one.clip_id };
  history.replaceState(null, "", `${location.search}#${addressOf(one)}`);
  showCurrent();
  clip = null; // what is not seen yet cannot be marked
  for (const id of ["right", "wrong"]) find(id).disabled = true;
  video.removeAttribute("src");
  video.load();
  wait("loading");
  clearTimeout(resting);
  resting = setTimeout(() => trying(loadClip), REST_MS); // whoever holds an arrow down asks for no video
}

const addressOf = (one) => `${encodeURIComponent(one.shard)}/${encodeURIComponent(one.clip_id)}`;
const address = () => addressOf(current);
let ahead = { address: "" };

/** The next clip of the list, asked for while a person looks at this one. */
function lookAhead() {
  const next = clips[clips.findIndex((one) => one.clip_id === current.clip_id) + 1];
  if (!next) return;
  ahead = { address: addressOf(next), told: ask(`/api/clips/${addressOf(next)}`) };
  ahead.told.catch(() => { ahead = { address: "" }; });
}

function askClip(shown) {
  const { told } = ahead.address === shown ? ahead : { told: ask(`/api/clips/${shown}`) };
  ahead = { address: "" };
  return told;
}

async function loadClip() {
  const shown = address();
  let told;
  try { told = await askClip(shown); } catch (error) { wait(error.message); throw error; }
  if (shown !== address()) return;
  clip = told;
  tell("");
  showClip();
  wait("getting the video ready");
  video.dataset.encoded = "";
  video.src = `/video/${shown}`;
  video.play().catch(() => {}); // browsers let a page play by itself once somebody has touched it
  lookAhead();
}

function showClip() {
  durationS = clip.duration_s || Math.max(1, ...clip.tracks.faces.time_s);
  find("said").textContent = clip.said;
  find("said").className = clip.status;
  showTracks();
  showRules();
  showFacts();
  showMarks();
}

function showTracks() {
  cursor = drawTracks(find("tracks"), clip.tracks, durationS);
  follow();
}

function showRules() {
  const rows = [];
  let step = null;
  for (const rule of clip.rules) {
    if (rule.step !== step) rows.push(row("th", "step", [step = rule.step]));
    const measured = rule.measured === null ? "-" : Number(rule.measured.toPrecision(4)).toString();
    const made = row("td", "", [rule.measure, measured, rule.demand]);
    made.children[1].className = "figure";
    if (rule.broken && rule.step !== SPEECH) made.className = "broken"; // of speech they are questions, not demands
    rows.push(made);
  }
  find("rules").replaceChildren(...rows);
}

function row(tag, className, texts) {
  const made = element("tr");
  made.append(...texts.map((text) => element(tag, text, className)));
  if (tag === "th") made.firstChild.colSpan = 3;
  return made;
}

function showFacts() {
  const facts = { clip: clip.clip_id, file: clip.path, person: clip.person, speaks: clip.speaking, caption: clip.caption, source: clip.source, licence: clip.licence, codec: clip.codec, shard: clip.shard };
  find("facts").replaceChildren(...Object.entries(facts).filter(([, value]) => value)
    .flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
}

function showMarks() {
  find("marks").replaceChildren(...clip.marks.map((mark) => {
    const decided = mark.reason ?? mark.status, fault = mark.fault && mark.fault !== mark.reason ? `, it is ${mark.fault}` : "";
    const words = `${mark.verdict} (${decided}${fault}), ${mark.marker}, ${mark.marked_at.slice(0, 16).replace("T", " ")}`;
    return element("li", [words, mark.note, mark.outdated].filter(Boolean).join(": "), `${mark.verdict} ${mark.outdated ? "outdated" : ""}`);
  }));
  const own = clip.marks.find((mark) => mark.marker === about.marker);
  find("note").value = own?.note ?? "";
  find("fault").value = own?.fault ?? clip.decision?.reason ?? "";
  for (const id of ["right", "wrong"]) find(id).disabled = !clip.decision;
}

// ---- marks

async function mark(verdict) {
  if (busy || !clip || about.marker === null) return;
  if (!clip.decision) { tell("this clip failed or waits: no rule has decided it, so there is nothing to mark"); return; }
  const keeps = (clip.decision.status === "kept") === (verdict === "right");
  const body = { shard: clip.shard, clip_id: clip.clip_id, seen: clip.decision, verdict, fault: keeps ? null : find("fault").value || null, note: find("note").value.trim() || null };
  const marking = clip;
  busy = true;
  for (const id of ["right", "wrong"]) find(id).disabled = true;
  try {
    const { mark_id } = await ask("/api/marks", body);
    remember([...remembered(), { mark_id, shard: marking.shard, clip_id: marking.clip_id }]);
    noteVerdict(marking.clip_id, verdict);
    tell("");
    // Whoever has gone on already stays there; behind the last clip there is none.
    if (marking === clip && !(await step(1))) await loadClip();
  } catch (error) {
    if (error.status === 409) await loadClip(); // decided anew meanwhile
    else if (marking === clip) for (const id of ["right", "wrong"]) find(id).disabled = false;
    throw error;
  } finally { busy = false; }
}

function noteVerdict(clipId, verdict) {
  const one = clips.find((known) => known.clip_id === clipId);
  if (!one) return;
  marked += Number(Boolean(verdict)) - Number(Boolean(one.verdict));
  one.verdict = verdict;
  showList();
}

async function undo() {
  if (busy || about.marker === null) return;
  const marks = remembered(), last = marks.pop();
  if (!last) { tell("nothing was marked in this window: there is nothing to take back"); return; }
  busy = true;
  try {
    await ask("/api/undo", { mark_id: last.mark_id });
    remember(marks);
    const before = (await ask(`/api/clips/${addressOf(last)}`)).marks
      .find((known) => known.marker === about.marker && !known.outdated);
    noteVerdict(last.clip_id, before?.verdict ?? null);
    open(last);
  } finally { busy = false; }
}

const remembered = () => JSON.parse(sessionStorage.getItem(UNDO) ?? "[]");
const remember = (marks) => sessionStorage.setItem(UNDO, JSON.stringify(marks));

// ---- the video

function wait(text) {
  find("waiting").textContent = text;
  find("waiting").hidden = !text;
}

function follow() {
  if (!cursor || !clip) return;
  cursor.style.left = `${Math.min(100, (100 * video.currentTime) / durationS)}%`;
  find("readout").textContent = readOff(clip.tracks, video.currentTime);
}

function everyFrame() {
  if (!video.paused) follow();
  requestAnimationFrame(everyFrame);
}

function seek(event) {
  const box = find("tracks").getBoundingClientRect();
  video.currentTime = Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)) * durationS;
  follow();
}

async function cannotPlay() {
  if (!clip || !video.getAttribute("src")) return;
  if (!video.dataset.encoded) { // another browser's codecs, or a damaged file
    video.dataset.encoded = "yes";
    wait("making a version that this browser plays");
    video.src = `/video/${address()}?encoded=1`;
    video.play().catch(() => {});
    return;
  }
  const shown = address(), answer = await fetch(`/video/${shown}?encoded=1`, { headers: { range: "bytes=0-0" } });
  if (shown === address()) wait(answer.ok ? "this browser cannot play the clip" : (await answer.json()).error);
}

video.addEventListener("loadeddata", () => wait(""));
video.addEventListener("loadedmetadata", () => {
  if (!clip || !Number.isFinite(video.duration)) return;
  durationS = video.duration;
  showTracks();
});
for (const event of ["seeked", "timeupdate", "pause"]) video.addEventListener(event, follow);
video.addEventListener("error", () => trying(cannotPlay));
find("tracks").addEventListener("pointerdown", (event) => { find("tracks").setPointerCapture(event.pointerId); seek(event); });
find("tracks").addEventListener("pointermove", (event) => { if (event.buttons) seek(event); });

// ---- keys and buttons

const KEYS = {
  ArrowRight: () => step(1), ArrowDown: () => step(1), ArrowLeft: () => step(-1), ArrowUp: () => step(-1),
  " ": async () => { if (video.paused) await video.play(); else video.pause(); },
  ",": async () => { video.currentTime -= 0.1; }, ".": async () => { video.currentTime += 0.1; },
  r: () => mark("right"), w: () => mark("wrong"), u: undo, n: async () => find("note").focus(),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input, select, textarea");
  if (typing && event.key === "Escape") event.target.blur();
  if (typing || event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
  event.preventDefault();
  trying(KEYS[event.key]);
}, true);

for (const [id, work] of [["right", () => mark("right")], ["wrong", () => mark("wrong")], ["undo", undo], ["more", loadMore]])
  find(id).addEventListener("click", (event) => { event.currentTarget.blur(); trying(work); });
filters.addEventListener("change", () => trying(loadList));
filters.addEventListener("reset", () => setTimeout(() => trying(loadList)));
filters.addEventListener("submit", (event) => { event.preventDefault(); trying(loadList); });

// ---- the start

function fill(select, values) {
  select.append(...values.map((value) => element("option", value)));
}

await trying(async () => {
  about = await ask("/api/about");
  for (const [name, values] of [["reason", about.reasons], ["measure", about.measures], ["source", about.sources], ["shard", about.shards]])
    fill(filters.elements[name], values);
  fill(find("fault"), ["", ...about.reasons]);
  find("fault").options[0].textContent = "none named";
  find("fault").options[0].value = "";
  find("marker").textContent = about.marker === null ? "read only" : about.marker;
  find("marking").hidden = about.marker === null;
  filters.elements.shard.parentElement.hidden = about.shard !== null;
  for (const [name, value] of new URLSearchParams(location.search)) {
    const filter = filters.elements.namedItem(name);
    if (filter) filter.value = value;
  }
  await loadList();
  const [shard, clipId] = location.hash.slice(1).split("/").map(decodeURIComponent);
  if (clipId) open({ shard, clip_id: clipId });
  else if (clips.length) open(clips[0]);
  else wait("no clip is so: clear the filters, or run `lafid curate` first");
});
requestAnimationFrame(everyFrame);
