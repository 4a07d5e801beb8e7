import { showLayers } from "./layers.js";

// One request at a time: while a response is pending, only the latest change is kept.

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
  return async function run() {
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
      run();
    }
  };
}

// ── model ──────────────────────────────────────────────────────────────────────────────────────

async function loadModel() {
  model = await (await call("model")).json();
  find("model").textContent = `${model.name}, version ${model.version}, on ${model.provider.replace("ExecutionProvider", "")}`;
  document.title = `Tandem · ${model.name} ${model.version}`;
  const facts = { data: model.data, ...model.metrics, ...model.provenance, "model SHA-256": model.sha256 };
  find("details").replaceChildren(...Object.entries(facts).flatMap(([name, value]) => pair(name, value)));
  const tracking = String(model.provenance.tracking_uri ?? "");
  find("mlflow").hidden = !/^https?:\/\//.test(tracking);
  if (!find("mlflow").hidden) find("mlflow").href = tracking;
}

// After a change of champion. Other inputs have other fields: then the page is reloaded.
async function reloadModel() {
  const before = JSON.stringify([model.input, model.features, model.categories]);
  await loadModel();
  if (JSON.stringify([model.input, model.features, model.categories]) !== before) location.reload();
}

function pair(name, value) {
  const term = document.createElement("dt");
  const text = document.createElement("dd");
  term.textContent = name.replaceAll("_", " ");
  text.textContent = typeof value === "number" && !Number.isInteger(value) ? value.toPrecision(5) : String(value);
  return [term, text];
}

// ── prediction ───────────────────────────────────────────────────────────────────────────────────

async function read(answer, started) {
  const result = await answer.json();
  const milliseconds = performance.now() - started;
  const spent = [...(answer.headers.get("server-timing") ?? "").matchAll(/(\w+);dur=([\d.]+)/g)];
  find("timing").textContent = [...spent.map(([, name, time]) => `${name} ${time} ms`), `round trip ${milliseconds.toFixed(1)} ms`].join(" · ");
  if (result.model.version !== model.version || result.model.name !== model.name) await reloadModel();
  const first = result.predictions[0];
  if ("value" in first) find("answer").textContent = `${first.target}: ${first.value.toPrecision(6)}`;
  else bars(first);
  return result;
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

// ── images ───────────────────────────────────────────────────────────────────────────────────────

let epoch = 0; // incremented by every clearing: responses to earlier requests are discarded
let drawn = null; // [left, top, right, bottom] of the drawing
let chosen = null; // a file that was chosen, dropped or pasted; otherwise the drawing is sent

const predictImage = latest(async () => {
  if (!chosen && !drawn) return;
  const { body, headers } = await image();
  const current = epoch;
  const started = performance.now();
  const answer = await call("predict/image?pixels=1", { method: "POST", body, headers });
  if (current !== epoch) return;
  const result = await read(answer, started);
  const pixels = Uint8Array.from(atob(result.pixels[0]), (letter) => letter.charCodeAt(0));
  paint(find("pixels"), colourOf(pixels));
  find("input").hidden = find("layer-section").hidden = false;
  loadLayers();
  if ("label" in result.predictions[0]) await explain(pixels, model.labels.indexOf(result.predictions[0].label), result.predictions[0].probability);
});

async function image() {
  const body = chosen ?? (await new Promise((done) => framed().toBlob(done, "image/png")));
  return { body, headers: { "content-type": body.type || "application/octet-stream" } };
}

// Only while they are shown: the layers cost more than the prediction.
const loadLayers = latest(async () => {
  if (!find("layer-details").open || !(chosen || drawn)) return;
  const current = epoch;
  const answer = await call("predict/activations", { method: "POST", ...(await image()) });
  const { layers } = await answer.json();
  if (current === epoch) showLayers(find("layers"), layers);
});

// `colour` returns red, green and blue of the pixel at an index.
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

const MAX_BYTES = 1 << 20; // of covered images in one request

// Occlusion: the image with one part covered at a time, many in one request of raw data.
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
  const current = epoch;
  const outputs = [];
  const count = Math.max(1, Math.min(model.max_batch, Math.floor(MAX_BYTES / pixels.length)));
  for (let start = 0; start < places.length; start += count) {
    outputs.push(...(await infer(places.slice(start, start + count).map(cover))));
    if (current !== epoch) return;
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

async function infer(images) {
  const size = images.length * images[0].length;
  const input = { name: model.input.name, datatype: "UINT8", shape: [images.length, ...model.input.shape], parameters: { binary_data_size: size } };
  const header = new TextEncoder().encode(JSON.stringify({ inputs: [input], parameters: { binary_data_output: true } }));
  const headers = { "inference-header-content-length": String(header.length), "content-type": "application/octet-stream" };
  const answer = await call(model.infer, { method: "POST", body: new Blob([header, ...images]), headers });
  const whole = await answer.arrayBuffer();
  return new Float32Array(whole.slice(Number(answer.headers.get("inference-header-content-length"))));
}

function heat(pixels, loss) {
  const most = Math.max(1e-6, ...loss);
  const colour = colourOf(pixels);
  paint(find("occlusion"), (i) => {
    const share = loss[i] / most;
    const grey = (1 - share) * colour(i).reduce((sum, value) => sum + value / 3, 0);
    return [grey + 255 * share, grey + 90 * share, grey];
  });
}

// ── drawing ──────────────────────────────────────────────────────────────────────────────────────

// Colours as in the training data: most of an image is background, so its mean is near the background.
const dark = () => model.mean.reduce((sum, value) => sum + value, 0) / model.mean.length < 128;

// The drawing fills the frame, like the digits and clothes of the usual data sets.
function framed() {
  const [left, top, right, bottom] = drawn;
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
  drawn = chosen = null;
  pen.fillStyle = dark() ? "#000" : "#fff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.strokeStyle = dark() ? "#fff" : "#000";
  pen.lineWidth = canvas.width * Math.max(0.08, 1.2 / model.input.shape[1]); // at least one pixel of the model input
  pen.lineCap = pen.lineJoin = "round";
  find("input").hidden = find("layer-section").hidden = true;
  find("bars").replaceChildren();
  find("answer").textContent = "No prediction yet.";
}

function line(from, to) {
  chosen = null;
  const half = pen.lineWidth / 2;
  drawn ??= [canvas.width, canvas.height, 0, 0];
  for (const [x, y] of [from, to])
    drawn = [Math.min(drawn[0], x - half), Math.min(drawn[1], y - half), Math.max(drawn[2], x + half), Math.max(drawn[3], y + half)];
  pen.beginPath();
  pen.moveTo(...from);
  pen.lineTo(...to);
  pen.stroke();
  predictImage();
}

function useFile(file) {
  chosen = file;
  createImageBitmap(file).then((image) => {
    const scale = Math.min(canvas.width / image.width, canvas.height / image.height);
    const [width, height] = [image.width * scale, image.height * scale];
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(image, (canvas.width - width) / 2, (canvas.height - height) / 2, width, height);
  }, () => {}); // the service explains what is wrong with the file
  predictImage();
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
  find("file").addEventListener("change", (event) => event.target.files[0] && useFile(event.target.files[0]));
  document.addEventListener("paste", (event) => event.clipboardData.files[0] && useFile(event.clipboardData.files[0]));
  for (const kind of ["dragover", "drop", "dragleave"])
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      canvas.classList.toggle("over", kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files[0]) useFile(event.dataTransfer.files[0]);
    });
}

function openImage() {
  find("image").hidden = false;
  clear();
  find("clear").addEventListener("click", clear);
  find("layer-details").addEventListener("toggle", loadLayers);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", loadLayers);
  listenToPointer();
  listenToKeys();
  listenToFiles();
}

// ── table rows ───────────────────────────────────────────────────────────────────────────────────

const predictRow = latest(async () => {
  if (!find("row").checkValidity()) return;
  const row = Object.fromEntries([...find("row").elements].map((field) => [field.name, valueOf(field)]));
  const options = { method: "POST", body: JSON.stringify({ inputs: [row] }), headers: { "content-type": "application/json" } };
  await read(await call("predict", options), performance.now());
});

// An empty field is a missing value.
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
  for (const kind of ["input", "change"]) find("row").addEventListener(kind, predictRow); // some browsers send only the second for a select
  find("row").addEventListener("submit", (event) => event.preventDefault());
  predictRow();
}

// ── start ────────────────────────────────────────────────────────────────────────────────────────

async function start() {
  try {
    await loadModel();
    show(null);
    (model.input.kind === "image" ? openImage : openTable)();
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
