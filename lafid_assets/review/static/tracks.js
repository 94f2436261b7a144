// A clip's tracks as pictures on the video's time. Belongs here: drawing and reading off. Not here: the page (review.js).
// Texts go in as texts, never as HTML: file names, captions and transcripts are strangers' words.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 1000, HEIGHT = 100;

export function element(tag, text = "", className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

/** Draws all tracks of a clip into `box`; gives the cursor's element. */
export function drawTracks(box, tracks, durationS) {
  const x = (timeS) => (WIDTH * timeS) / durationS;
  const made = [poseTrack(tracks.faces, x), identityTrack(tracks.identity, x), speechTrack(tracks.speech, x, durationS),
    countTrack(tracks.faces, x, durationS)];
  for (const { svg } of made)
    for (const cut of tracks.cuts) line(svg, "cut", x((cut.start_s + cut.end_s) / 2), `${cut.kind} cut, score ${cut.score.toFixed(1)}`);
  const cursor = element("div");
  cursor.id = "cursor";
  box.replaceChildren(...made.map(({ track }) => track), cursor);
  return cursor;
}

/** What the tracks say at one moment. */
export function readOff(tracks, timeS) {
  const faces = tracks.faces, identity = tracks.identity;
  const at = nearest(faces.time_s, timeS), known = nearest(identity.time_s, timeS);
  const parts = [`${timeS.toFixed(2)} s`];
  if (at >= 0) {
    for (const angle of ["yaw", "pitch", "roll"]) {
      const degrees = faces[`${angle}_deg`][at];
      parts.push(`${angle} ${degrees === null ? "-" : `${Math.round(degrees) || 0}°`}`);
    }
    parts.push(`faces ${faces.face_count[at]}`);
  }
  if (known >= 0) parts.push(`like itself ${identity.similarity[known].toFixed(3)}`
    + (identity.asked ? ` (asked ${identity.asked[known].toFixed(3)})` : ""));
  if (tracks.speech.voice.some((span) => span.start_s <= timeS && timeS <= span.end_s)) parts.push("voice");
  return parts.join("   ");
}

function nearest(times, timeS) {
  let best = -1;
  times.forEach((time, index) => { if (best < 0 || Math.abs(time - timeS) < Math.abs(times[best] - timeS)) best = index; });
  return best;
}

function poseTrack(faces, x) {
  const angles = ["yaw", "pitch", "roll"];
  const all = angles.flatMap((angle) => faces[`${angle}_deg`]).filter((value) => value !== null);
  const most = Math.max(30, 15 * Math.ceil(Math.max(0, ...all.map(Math.abs)) / 15));
  const made = track("head pose, degrees:", all.length ? "" : "no pose was measured", angles);
  const y = (degrees) => (HEIGHT * (most - degrees)) / (2 * most);
  ticks(made, [[y(most / 2), `${most / 2}°`], [y(0), "0°"], [y(-most / 2), `${-most / 2}°`]]);
  for (const angle of angles) curve(made.svg, angle, faces.time_s, faces[`${angle}_deg`], x, y);
  return made;
}

function identityTrack(identity, x) {
  const { time_s: times, similarity, asked } = identity;
  const made = track("one person, cosine to its medoid:", times.length ? "" : "no face was compared", asked ? ["similarity", "asked"] : ["similarity"]);
  if (!times.length) return made;
  const least = Math.min(...similarity, ...(asked ?? []));
  const low = Math.max(-1, least - 0.1 * (1 - least) - 0.005);
  const y = (cosine) => (HEIGHT * (1 - cosine)) / (1 - low) * 0.94 + 3;
  const middle = (1 + low) / 2;
  ticks(made, [[y(1), "1"], [y(middle), middle.toFixed(2)], [y(low), low.toFixed(2)]]);
  if (asked) curve(made.svg, "asked", times, asked, x, y);
  curve(made.svg, "similarity", times, similarity, x, y);
  if (identity.break_s !== null) line(made.svg, "break", x(identity.break_s), "somebody else from here");
  return made;
}

function speechTrack(speech, x, durationS) {
  const { voice, mouth, words } = speech;
  const openings = mouth.opening.filter((value) => value !== null);
  const made = track("speech:", voice.length || openings.length ? "" : "neither voice nor lips were measured", ["voice", "mouth"]);
  for (const span of voice) bar(made.svg, "voice", x(span.start_s), 0, x(span.end_s) - x(span.start_s), HEIGHT);
  const least = Math.min(0, ...openings), most = Math.max(0.02, ...openings);
  const y = (opening) => 92 - (80 * (opening - least)) / (most - least);
  if (openings.length) ticks(made, [[y(most), most.toFixed(2)], [y(least), least.toFixed(2)]]);
  curve(made.svg, "mouth", mouth.time_s, mouth.opening, x, y);
  for (const word of words) {
    const said = element("span", word.text.trim(), "word");
    said.style.left = `${(100 * word.start_s) / durationS}%`;
    said.style.maxWidth = `${(100 * (word.end_s - word.start_s)) / durationS}%`;
    made.plot.append(said);
  }
  return made;
}

function countTrack(faces, x, durationS) {
  const most = Math.max(1, ...faces.face_count);
  const made = track("faces in the frame", faces.time_s.length ? "" : "no frame was looked at", [], true);
  faces.time_s.forEach((time, index) => {
    const end = faces.time_s[index + 1] ?? durationS, high = (70 * faces.face_count[index]) / most;
    bar(made.svg, "count", x(time), HEIGHT - high, x(end) - x(time), high);
  });
  if (faces.time_s.length) ticks(made, [[30, String(most)]]);
  return made;
}

function track(name, nothing, legend, low = false) {
  const made = element("div", "", low ? "track low" : "track");
  const label = element("span", `${name} `, "name");
  legend.forEach((what) => {
    const sample = document.createElementNS(SVG, "svg");
    sample.setAttribute("viewBox", "0 0 24 8");
    sample.setAttribute("class", "sample");
    sample.append(shape(what === "voice" ? "rect" : "path", what, what === "voice" ? { width: 24, height: 8 } : { d: "M0 4H24" }));
    label.append(sample, element("b", ` ${what}  `));
  });
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  const plot = element("div", "", "plot");
  plot.append(svg);
  made.append(label, plot);
  if (nothing) plot.append(element("span", nothing, "none"));
  return { track: made, plot, svg };
}

function shape(tag, className, attributes) {
  const made = document.createElementNS(SVG, tag);
  made.setAttribute("class", className);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function ticks({ plot, svg }, places) {
  for (const [at, text] of places) {
    svg.prepend(shape("path", "grid", { d: `M0 ${at}H${WIDTH}` }));
    const tick = element("span", text, "tick");
    tick.style.top = `${Math.min(93, Math.max(8, at))}%`;
    plot.append(tick);
  }
}

/** A line through what is known; where nothing is, it breaks off. A lone point is a short dash. */
function curve(svg, className, times, values, x, y) {
  let path = "", pen = false;
  values.forEach((value, index) => {
    if (value === null) { pen = false; return; }
    path += `${pen ? "L" : "M"}${x(times[index]).toFixed(1)} ${y(value).toFixed(1)}`;
    if (!pen) path += "h1.5";
    pen = true;
  });
  if (path) svg.append(shape("path", className, { d: path }));
}

function bar(svg, className, left, top, width, height) {
  svg.prepend(shape("rect", className, { x: left, y: top, width: Math.max(0, width), height }));
}

function line(svg, className, at, title) {
  const made = shape("path", className, { d: `M${at} 0V${HEIGHT}` });
  const words = document.createElementNS(SVG, "title");
  words.textContent = title;
  made.append(words);
  svg.append(made);
}
