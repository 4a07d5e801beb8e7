// An image: drawn, chosen, dropped, pasted or the example; predicted at each change.

import { openDrawing } from "./drawing.js";
import { showLayers } from "./layers.js";
import { model } from "./model.js";
import { lossMap } from "./occlusion.js";
import { colourOf, fromExample, paint } from "./pixels.js";
import { hide, mayHelp, showBusy, showEmpty, showError, showPrediction } from "./result.js";
import { call, latest } from "./service.js";

const find = (id) => document.getElementById(id);

const ABOUT_MAP = find("occlusion-note").textContent;
let epoch = 0; // incremented by every clearing and file: responses to earlier requests are discarded
let chosen = null; // a file that was chosen, dropped or pasted; otherwise the drawing is sent
let drawing = null;

const isCurrent = (number) => number === epoch;

export function openImage(example) {
  find("image").hidden = false;
  drawing = openDrawing({ onStroke: predictImage, onStart: () => chosen && clear(), onClear: clear });
  clear();
  find("clear").addEventListener("click", clear);
  find("layer-details").addEventListener("toggle", loadLayers);
  find("layers-retry").addEventListener("click", loadLayers);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", loadLayers);
  openExample(example);
  listenToFiles();
}

function openExample(example) {
  const pixels = fromExample(example);
  paint(find("example-image"), colourOf(pixels));
  find("example").hidden = false;
  find("example").addEventListener("click", () => {
    find("example-image").toBlob(useFile, "image/png");
    find("clear").focus(); // the button disappears
  });
}

function listenToFiles() {
  find("file").addEventListener("change", ({ target }) => {
    if (target.files[0]) useFile(target.files[0]);
    target.value = ""; // so that the same file can be chosen again
  });
  document.addEventListener("paste", (event) => event.clipboardData.files[0] && useFile(event.clipboardData.files[0]));
  for (const kind of ["dragover", "drop", "dragleave"])
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      find("canvas").classList.toggle("over", kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files[0]) useFile(event.dataTransfer.files[0]);
    });
}

function clear() {
  epoch += 1;
  chosen = null;
  drawing.clear();
  showEmpty("No prediction yet. Draw, choose a file, or start with an example.");
  find("explanation").hidden = true;
  hideLayersError();
}

async function useFile(file) {
  clear();
  chosen = file;
  const current = epoch;
  predictImage();
  const bitmap = await createImageBitmap(file).catch(() => null); // the service explains what is wrong with the file
  if (bitmap && isCurrent(current)) drawing.show(bitmap);
}

const hasImage = () => chosen !== null || !drawing.isEmpty();

async function request() {
  const body = chosen ?? (await drawing.toBlob());
  return { method: "POST", body, headers: { "content-type": body.type || "application/octet-stream" } };
}

const predictImage = latest(async () => {
  const current = epoch;
  if (!hasImage()) return;
  showBusy(true);
  try {
    await predict(current);
  } catch (error) {
    if (isCurrent(current)) reject(error);
  } finally {
    showBusy(false);
  }
}, reject);

function reject(error) {
  find("explanation").hidden = true;
  showError(error, predictImage);
}

async function predict(current) {
  const options = await request();
  const started = performance.now();
  const response = await call("predict/image?pixels=1", options);
  const result = await response.json();
  if (!isCurrent(current)) return;
  await showPrediction(response, result, performance.now() - started);
  const pixels = Uint8Array.from(atob(result.pixels[0]), (letter) => letter.charCodeAt(0));
  showPixels(pixels);
  loadLayers();
  await explain(pixels, result.predictions[0], () => isCurrent(current)).catch((error) => isCurrent(current) && showNoMap(error));
}

// Its requests can be rejected, as by a quota, after the one for the prediction was answered.
function showNoMap(error) {
  find("occlusion-figure").hidden = true;
  find("occlusion-note").textContent = `No occlusion map: ${error.message}`;
}

function showPixels(pixels) {
  const [height, width, channels] = model.input.shape;
  paint(find("pixels"), colourOf(pixels));
  find("size").textContent = `${width} × ${height} × ${channels}`;
  find("explanation").hidden = false;
}

async function explain(pixels, { label, probability }, wanted) {
  find("occlusion-figure").hidden = find("occlusion-note").hidden = label === undefined; // of a classification only
  find("occlusion-note").textContent = ABOUT_MAP;
  if (label === undefined) return;
  const loss = await lossMap(pixels, model.labels.indexOf(label), probability, wanted);
  if (!loss) return;
  const most = Math.max(1e-6, ...loss);
  const colour = colourOf(pixels);
  paint(find("occlusion"), (i) => {
    const share = loss[i] / most;
    const grey = (1 - share) * colour(i).reduce((sum, value) => sum + value / 3, 0);
    return [grey + 255 * share, grey + 90 * share, grey];
  });
}

// Only while they are shown: the layers cost more than the prediction.
const loadLayers = latest(async () => {
  if (!find("layer-details").open || !hasImage()) return;
  const current = epoch;
  try {
    const { layers } = await (await call("predict/activations", await request())).json();
    if (!isCurrent(current)) return;
    showLayers(find("layers"), layers);
    hideLayersError();
  } catch (error) {
    if (isCurrent(current)) showLayersError(error);
  }
}, showLayersError);

// As with the occlusion map, the prediction stays.
function showLayersError(error) {
  find("layers-error").textContent = ""; // a message that is set again is announced again
  find("layers-error").textContent = `No layer outputs: ${error.message}`;
  if (mayHelp(error)) find("layers-retry").hidden = false;
  else hide(find("layers-retry"), find("layers-summary"));
  find("layers-rejected").hidden = false;
  find("layers").hidden = true;
}

function hideLayersError() {
  find("layers-error").textContent = "";
  hide(find("layers-rejected"), find("layers-summary"));
  find("layers").hidden = false;
}
