import { showLayers } from "./layers.js";

// One picture or one row at a time is asked for; while an answer is on its way only the latest change is kept.

const find = (id) => document.getElementById(id);
const canvas = find("canvas");
const pen = canvas.getContext("2d");
let model = null;

async function call(path, options = {}) {
  const key = sessionStorage.getItem("key");
  const headers = { ...options.headers, ...(key ? { "x-api-key": key } : {}) };
  const answer = await fetch(path, { ...options, headers });
  find("key").hidden = answer.status !== 401;
  if (!answer.ok) throw new Error((await answer.json()).error);
  return answer;
}

function show(error) {
  find("error").hidden = !error;
  find("error").textContent = error ? error.message : "";
}

function latest(work) {
  let running = false;
  let again = false;
  return async function ask() {
    if (running) {
      again = true;
      return;
    }
    running = true;
    try {
      await work();
      show(null);
    } catch (error) {
      show(error);
    }
    running = false;
    if (again) {
      again = false;
      ask();
    }
  };
}

// ── which model answers ──────────────────────────────────────────────────────────────────────────

async function meet() {
  model = await (await call("model")).json();
  find("model").textContent = `${model.name}, version ${model.version}, on ${model.provider.replace("ExecutionProvider", "")}`;
  document.title = `Tandem · ${model.name} ${model.version}`;
  const facts = { data: model.data, ...model.metrics, ...model.provenance, "model SHA-256": model.sha256 };
  find("pedigree").replaceChildren(...Object.entries(facts).flatMap(([name, value]) => pair(name, value)));
  const tracking = String(model.provenance.tracking_uri ?? "");
  find("mlflow").hidden = !/^https?:\/\//.test(tracking);
  if (!find("mlflow").hidden) find("mlflow").href = tracking;
}

// Another champion answers. One for other inputs has other fields: then the page begins anew.
async function meetAgain() {
  const before = JSON.stringify([model.input, model.features, model.categories]);
  await meet();
  if (JSON.stringify([model.input, model.features, model.categories]) !== before) location.reload();
}

function pair(name, value) {
  const term = document.createElement("dt");
  const text = document.createElement("dd");
  term.textContent = name.replaceAll("_", " ");
  text.textContent = typeof value === "number" && !Number.isInteger(value) ? value.toPrecision(5) : String(value);
  return [term, text];
}

// ── the answer ───────────────────────────────────────────────────────────────────────────────────

async function read(answer, started) {
  const told = await answer.json();
  const milliseconds = performance.now() - started;
  const spent = [...(answer.headers.get("server-timing") ?? "").matchAll(/(\w+);dur=([\d.]+)/g)];
  find("timing").textContent = [...spent.map(([, name, time]) => `${name} ${time} ms`), `round trip ${milliseconds.toFixed(1)} ms`].join(" · ");
  if (told.model.version !== model.version || told.model.name !== model.name) await meetAgain();
  const first = told.predictions[0];
  if ("value" in first) find("answer").textContent = `${first.target}: ${first.value.toPrecision(6)}`;
  else bars(first);
  return told;
}

function bars(prediction) {
  find("answer").textContent = `${prediction.label} (${percent(prediction.probability)})`;
  const list = find("bars");
  const entries = Object.entries(prediction.probabilities);
  if (list.children.length !== entries.length) list.replaceChildren(...entries.map(bar));
  entries.forEach(([label, share], index) => {
    const [name, track, number] = list.children[index].children;
    name.textContent = label;
    track.firstChild.style.width = percent(share);
    number.textContent = percent(share);
    list.children[index].classList.toggle("best", label === prediction.label);
  });
}

function bar() {
  const [item, name, track, inner, number] = ["li", "span", "div", "div", "span"].map((tag) => document.createElement(tag));
  track.className = "track";
  inner.className = "bar";
  number.className = "share";
  track.append(inner);
  item.append(name, track, number);
  return item;
}

const percent = (share) => `${(100 * share).toFixed(1)}%`;

// ── pictures ─────────────────────────────────────────────────────────────────────────────────────

let epoch = 0; // counts the clearings: an answer to what has been cleared is not shown
let ink = null; // [left, top, right, bottom] of what was drawn
let chosen = null; // a file that was chosen, dropped or pasted; otherwise the drawing is sent

const askPicture = latest(async () => {
  if (!chosen && !ink) return;
  const { body, headers } = await picture();
  const asked = epoch;
  const started = performance.now();
  const answer = await call("predict/image?pixels=1", { method: "POST", body, headers });
  if (asked !== epoch) return;
  const told = await read(answer, started);
  const pixels = Uint8Array.from(atob(told.pixels[0]), (letter) => letter.charCodeAt(0));
  paint(find("pixels"), colourOf(pixels));
  find("seen").hidden = find("inside").hidden = false;
  askLayers();
  if ("label" in told.predictions[0]) await explain(pixels, model.labels.indexOf(told.predictions[0].label), told.predictions[0].probability);
});

async function picture() {
  const body = chosen ?? (await new Promise((done) => framed().toBlob(done, "image/png")));
  return { body, headers: { "content-type": body.type || "application/octet-stream" } };
}

// Only while somebody looks: the layers cost more than the answer.
const askLayers = latest(async () => {
  if (!find("look").open || !(chosen || ink)) return;
  const asked = epoch;
  const answer = await call("predict/activations", { method: "POST", ...(await picture()) });
  const { layers } = await answer.json();
  if (asked === epoch) showLayers(find("layers"), layers);
});

// `colour` gives red, green and blue of the pixel at an index.
function paint(target, colour) {
  const [height, width, channels] = model.input.shape;
  const image = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) image.data.set([...colour(i), 255], 4 * i);
  target.width = width;
  target.height = height;
  target.getContext("2d").putImageData(image, 0, 0);
  find("size").textContent = `${width} × ${height} × ${channels}`;
}

function colourOf(pixels) {
  const channels = model.input.shape[2];
  return (i) => (channels === 3 ? pixels.subarray(3 * i, 3 * i + 3) : [pixels[i], pixels[i], pixels[i]]);
}

const SLICE = 1 << 20; // bytes of covered pictures in one request

// Occlusion: the picture with one part covered at a time, many in one request of raw bytes.
async function explain(pixels, label, probability) {
  const [height, width, channels] = model.input.shape;
  const side = Math.max(2, Math.round(width / 7));
  const step = Math.max(1, side >> 1);
  const places = [];
  for (let y = 0; y + side <= height; y += step) for (let x = 0; x + side <= width; x += step) places.push([y, x]);
  const cover = ([top, left]) => {
    const one = pixels.slice();
    for (let y = top; y < top + side; y++)
      for (let x = left; x < left + side; x++)
        for (let c = 0; c < channels; c++) one[(y * width + x) * channels + c] = model.mean[c % model.mean.length];
    return one;
  };
  const asked = epoch;
  const outputs = [];
  const count = Math.max(1, Math.min(model.max_batch, Math.floor(SLICE / pixels.length)));
  for (let start = 0; start < places.length; start += count) {
    outputs.push(...(await infer(places.slice(start, start + count).map(cover))));
    if (asked !== epoch) return;
  }
  const loss = new Float32Array(width * height);
  const times = new Float32Array(width * height);
  places.forEach(([top, left], index) => {
    const lost = Math.max(0, probability - outputs[index * model.labels.length + label]);
    for (let y = top; y < top + side; y++)
      for (let x = left; x < left + side; x++) {
        loss[y * width + x] += lost;
        times[y * width + x] += 1;
      }
  });
  heat(pixels, loss.map((value, i) => value / Math.max(1, times[i])));
}

async function infer(pictures) {
  const size = pictures.length * pictures[0].length;
  const input = { name: model.input.name, datatype: "UINT8", shape: [pictures.length, ...model.input.shape], parameters: { binary_data_size: size } };
  const header = new TextEncoder().encode(JSON.stringify({ inputs: [input], parameters: { binary_data_output: true } }));
  const headers = { "inference-header-content-length": String(header.length), "content-type": "application/octet-stream" };
  const answer = await call(model.infer, { method: "POST", body: new Blob([header, ...pictures]), headers });
  const whole = await answer.arrayBuffer();
  return new Float32Array(whole.slice(Number(answer.headers.get("inference-header-content-length"))));
}

function heat(pixels, loss) {
  const most = Math.max(1e-6, ...loss);
  const colour = colourOf(pixels);
  paint(find("mattered"), (i) => {
    const share = loss[i] / most;
    const grey = (1 - share) * colour(i).reduce((sum, value) => sum + value / 3, 0);
    return [grey + 255 * share, grey + 90 * share, grey];
  });
}

// ── drawing ──────────────────────────────────────────────────────────────────────────────────────

// Ink and ground as in the training data: most of a picture is ground, so its mean is near the ground.
const dark = () => model.mean.reduce((sum, value) => sum + value, 0) / model.mean.length < 128;

// The drawing fills the frame, wherever and however small it was drawn: so do the digits and clothes of
// the usual data sets.
function framed() {
  const [left, top, right, bottom] = ink;
  const side = Math.max(right - left, bottom - top) * 1.12;
  const frame = document.createElement("canvas");
  frame.width = frame.height = canvas.width;
  const context = frame.getContext("2d");
  context.fillStyle = pen.fillStyle;
  context.fillRect(0, 0, frame.width, frame.height);
  const corner = [(left + right - side) / 2, (top + bottom - side) / 2];
  context.drawImage(canvas, ...corner, side, side, 0, 0, frame.width, frame.height);
  return frame;
}

function clear() {
  epoch += 1;
  ink = chosen = null;
  pen.fillStyle = dark() ? "#000" : "#fff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.strokeStyle = dark() ? "#fff" : "#000";
  pen.lineWidth = canvas.width * Math.max(0.08, 1.2 / model.input.shape[1]); // at least a pixel of the model's
  pen.lineCap = pen.lineJoin = "round";
  find("seen").hidden = find("inside").hidden = true;
  find("bars").replaceChildren();
  find("answer").textContent = "Nothing asked yet.";
}

function line(from, to) {
  chosen = null;
  const half = pen.lineWidth / 2;
  ink ??= [canvas.width, canvas.height, 0, 0];
  for (const [x, y] of [from, to])
    ink = [Math.min(ink[0], x - half), Math.min(ink[1], y - half), Math.max(ink[2], x + half), Math.max(ink[3], y + half)];
  pen.beginPath();
  pen.moveTo(...from);
  pen.lineTo(...to);
  pen.stroke();
  askPicture();
}

function take(file) {
  chosen = file;
  createImageBitmap(file).then((image) => {
    const scale = Math.min(canvas.width / image.width, canvas.height / image.height);
    const [width, height] = [image.width * scale, image.height * scale];
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(image, (canvas.width - width) / 2, (canvas.height - height) / 2, width, height);
  }, () => {}); // what the browser cannot show the service may still refuse in words
  askPicture();
}

function listenToPointer() {
  let last = null;
  const place = (event) => [(event.offsetX * canvas.width) / canvas.clientWidth, (event.offsetY * canvas.height) / canvas.clientHeight];
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    if (chosen) clear();
    last = place(event);
    line(last, last);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (last) line(last, (last = place(event)));
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (last = null));
}

function listenToKeys() {
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  let place = [canvas.width / 2, canvas.height / 2];
  let down = false;
  canvas.addEventListener("keydown", (event) => {
    if (event.key in moves) {
      const next = moves[event.key].map((step, axis) => Math.min(canvas.width, Math.max(0, place[axis] + (step * canvas.width) / 28)));
      if (down) line(place, next);
      place = next;
    } else if (event.key === " ") {
      down = !down;
      if (down) line(place, place);
    } else if (event.key === "Delete") clear();
    else return;
    event.preventDefault();
  });
}

function listenToFiles() {
  find("file").addEventListener("change", (event) => event.target.files[0] && take(event.target.files[0]));
  document.addEventListener("paste", (event) => event.clipboardData.files[0] && take(event.clipboardData.files[0]));
  for (const kind of ["dragover", "drop", "dragleave"])
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      canvas.classList.toggle("over", kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
    });
}

function openPicture() {
  find("picture").hidden = false;
  clear();
  find("clear").addEventListener("click", clear);
  find("look").addEventListener("toggle", askLayers);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", askLayers);
  listenToPointer();
  listenToKeys();
  listenToFiles();
}

// ── rows of a table ──────────────────────────────────────────────────────────────────────────────

const askRow = latest(async () => {
  if (!find("row").checkValidity()) return;
  const row = Object.fromEntries([...find("row").elements].map((field) => [field.name, valueOf(field)]));
  const options = { method: "POST", body: JSON.stringify({ inputs: [row] }), headers: { "content-type": "application/json" } };
  await read(await call("predict", options), performance.now());
});

// Nothing in a field that may be empty is a missing value.
function valueOf(field) {
  if (field.value === "") return null;
  return field.type === "number" ? field.valueAsNumber : field.value;
}

function number(name, index) {
  const field = document.createElement("input");
  const value = Number(model.mean[index].toPrecision(3));
  return Object.assign(field, { type: "number", step: "any", name, value, required: !model.missing[index] });
}

function choice(name, index) {
  const field = Object.assign(document.createElement("select"), { name });
  field.append(...model.categories[index].map((category) => new Option(category, category)));
  if (model.missing[index]) field.append(new Option("(missing)", ""));
  return field;
}

function openTable() {
  find("table").hidden = false;
  find("row").replaceChildren(...model.features.map((name, index) => {
    const label = document.createElement("label");
    label.append(name, model.categories[index].length ? choice(name, index) : number(name, index));
    return label;
  }));
  for (const kind of ["input", "change"]) find("row").addEventListener(kind, askRow); // a choice may tell only of the second
  find("row").addEventListener("submit", (event) => event.preventDefault());
  askRow();
}

// ── start ────────────────────────────────────────────────────────────────────────────────────────

async function start() {
  try {
    await meet();
    show(null);
    (model.input.kind === "image" ? openPicture : openTable)();
  } catch (error) {
    show(error);
  }
}

find("key").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("key", event.target.elements[0].value);
  start();
});
start();
