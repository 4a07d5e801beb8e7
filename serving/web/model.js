// The champion as `/model` describes it: four facts, and the rest in groups.

import { call } from "./service.js";

const find = (id) => document.getElementById(id);

export const model = {}; // the fields of `/model`

export async function loadModel() {
  Object.assign(model, await (await call("model")).json());
  document.title = `Tandem · ${model.name} ${model.version}`;
  find("title").textContent = heading();
  find("model").textContent = `${model.name} ${sentence()}`;
  find("facts").replaceChildren(...facts().map(([term, value, note]) => entry(term, text("value", value), text("note", note))));
  const open = new Set([...find("details").querySelectorAll("details[open] summary")].map((summary) => summary.textContent));
  find("details").replaceChildren(...groups().filter(([, rows]) => rows.length).map(([name, rows]) => group(name, rows, open.has(name))));
  const tracking = String(model.provenance.tracking_uri ?? "");
  find("mlflow").hidden = !/^https?:\/\//.test(tracking);
  if (!find("mlflow").hidden) find("mlflow").href = tracking;
}

// After a change of champion. Other inputs have other fields: then the page is reloaded.
export async function followModel({ name, version }) {
  if (name === model.name && version === model.version) return;
  const inputs = () => JSON.stringify([model.input, model.features, model.categories]);
  const before = inputs();
  await loadModel();
  if (inputs() !== before) location.reload();
}

const isImage = () => model.input.kind === "image";
const isRegression = () => model.task === "regression";

function heading() {
  if (isRegression()) return isImage() ? "Predict a value from an image" : "Predict a value from a table row";
  return isImage() ? "Classify an image" : "Classify a table row";
}

function sentence() {
  const output = isRegression() ? "predicts a number" : `predicts one of ${count(model.labels.length, "label")}`;
  if (!isImage()) return `takes ${count(model.features.length, "column")} and ${output}.`;
  const [height, width, channels] = model.input.shape;
  return `takes ${channels === 1 ? "grey" : "colour"} images of ${width} × ${height} pixels and ${output}.`;
}

const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

// ── facts ────────────────────────────────────────────────────────────────────────────────────────

function facts() {
  const { git_commit: commit, git_dirty: dirty, created } = model.provenance;
  return [
    ["Data", model.data, isRegression() ? "regression" : count(model.labels.length, "label")],
    quality(),
    ["Version", model.version, [model.name, processor()].join(" on ")],
    ["Commit", commit ? String(commit).slice(0, 7) : "unknown", dirty ? "with uncommitted changes" : date(created)],
  ];
}

function quality() {
  const [name, term] = isRegression() ? ["mae", "Test error"] : ["accuracy", "Test accuracy"];
  const [value, low, high] = ["", "_low", "_high"].map((end) => model.metrics[`test/${name}${end}`]);
  if (value === undefined) return [term, "unknown", ""];
  const interval = low === undefined ? "" : `interval ${number(name, low)} to ${number(name, high)}`;
  return [term, number(name, value), [isRegression() ? "mean absolute" : "", interval].filter(Boolean).join(", ")];
}

const processor = () => model.provider.replace("ExecutionProvider", "").replace("Tensorrt", "TensorRT");
const date = (iso) => (iso ? new Date(iso).toLocaleDateString("en-GB", { dateStyle: "medium" }) : "");

// ── groups ───────────────────────────────────────────────────────────────────────────────────────

const NAMES = {
  accuracy: "Accuracy", log_loss: "Log loss", precision: "Precision", recall: "Recall", f1: "F1 score", roc_auc: "ROC AUC",
  brier: "Brier score", calibration_error: "Calibration error", r2: "R²", mae: "Mean absolute error",
  rmse: "Root mean squared error", bytes: "File size", run_id: "MLflow run", git_commit: "Git commit",
  examples_per_second: "throughput", git_dirty: "Uncommitted changes", data_sha256: "SHA-256 of the data", tracking_uri: "Tracking store",
};
const PERCENT = /accuracy|^(precision|recall|f1|calibration_error)/;
const UNITS = { _ms: "ms", _seconds: "s", _per_second: "examples per second", log_loss: "nats" };

function groups() {
  const { git_commit, ...origin } = model.provenance;
  const rows = (prefix) => metricRows(Object.entries(model.metrics).filter(([name]) => name.startsWith(prefix)), prefix);
  const prefixes = ["test/", "validation/", "latency/", "model/"];
  const rest = Object.entries(model.metrics).filter(([name]) => !prefixes.some((prefix) => name.startsWith(prefix)));
  return [
    ["Test split", rows("test/")],
    ["Validation split", rows("validation/")],
    ["Speed", rows("latency/")],
    ["Model", [...modelRows(), ...rows("model/")]],
    ["Origin", Object.entries({ git_commit, ...origin }).filter(([, value]) => value !== undefined).map(([name, value]) => [readable(name), plain(name, value)])],
    ["Other measurements", metricRows(rest, "")],
  ];
}

function modelRows() {
  const input = `${model.input.name}, ${model.input.dtype}, ${model.input.shape.join(" × ")}`;
  const labels = model.labels.length ? [["Labels", model.labels.join(", ")]] : [];
  const columns = model.features.length ? [["Columns", model.features.join(", ")]] : [];
  return [["Name", model.name], ["Task", model.task], ["Input", input], ...columns, ...labels, ["Runs on", processor()], ["SHA-256", model.sha256]];
}

// An interval is part of the row of its metric.
function metricRows(entries, prefix) {
  const values = Object.fromEntries(entries);
  return entries.filter(([name]) => !(/_(low|high)$/.test(name) && name.replace(/_(low|high)$/, "") in values)).map(([full, value]) => {
    const name = full.slice(prefix.length);
    const [low, high] = [values[`${full}_low`], values[`${full}_high`]];
    const interval = low === undefined ? "" : ` (interval ${number(name, low)} to ${number(name, high)})`;
    return [readable(name), number(name, value) + interval];
  });
}

function readable(name) {
  if (NAMES[name]) return NAMES[name];
  const words = name.replace(/_(ms|seconds)$/, "").split("/").map((part) => NAMES[part]?.toLowerCase() ?? part.replaceAll("_", " "));
  const sentence = words.join(", ").replace(/\bbatch (\d+)/, "batch of $1").replace(/top (\d+)/, "top-$1")
    .replace("p50", "median").replace(/\bp(\d\d)\b/, "$1th percentile");
  return sentence[0].toUpperCase() + sentence.slice(1);
}

// A value of a metric with its unit.
function number(name, value) {
  const last = name.split("/").at(-1);
  if (PERCENT.test(last)) return `${(100 * value).toFixed(1)}%`;
  if (last === "bytes") return `${grouped(value / 1024)} KiB`;
  if (last === "parameters") return grouped(value);
  const unit = Object.entries(UNITS).filter(([end]) => last.endsWith(end)).map(([, unit]) => unit);
  const digits = Number.isInteger(value) || Math.abs(value) >= 1000 ? grouped(value) : String(Number(value.toPrecision(3)));
  return [digits, unit.at(-1)].filter(Boolean).join(" ");
}

const grouped = (value) => Math.round(value).toLocaleString("en");

function plain(name, value) {
  if (typeof value === "boolean") return value ? "yes" : "no";
  return name === "created" ? new Date(value).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" }) : String(value);
}

function group(name, rows, open) {
  const [details, summary, list] = ["details", "summary", "dl"].map((tag) => document.createElement(tag));
  summary.textContent = name;
  list.append(...rows.map(([term, value]) => entry(term, text("", value))));
  details.append(summary, list);
  details.open = open;
  return details;
}

function entry(term, ...values) {
  const [box, name] = [document.createElement("div"), document.createElement("dt")];
  name.textContent = term;
  box.append(name, ...values.filter((value) => value.textContent));
  return box;
}

function text(kind, content) {
  return Object.assign(document.createElement("dd"), { className: kind, textContent: content ?? "" });
}
