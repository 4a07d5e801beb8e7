// One row of a table: a field for each column, predicted at each change.

import { model } from "./model.js";
import { announce, showBusy, showEmpty, showError, showPrediction } from "./result.js";
import { call, latest } from "./service.js";

const find = (id) => document.getElementById(id);
const fields = () => [...find("row").elements]; // without a `name`, which would replace such properties of the form

export function openTable(example) {
  find("table").hidden = false;
  find("row").replaceChildren(...model.features.map((name, index) => {
    const label = document.createElement("label");
    label.append(name, model.categories[index].length ? choice(name, index) : number(name, index));
    return label;
  }));
  for (const kind of ["input", "change"]) find("row").addEventListener(kind, predictRow); // some browsers send only the second for a select
  find("row").addEventListener("submit", (event) => event.preventDefault());
  find("reset").addEventListener("click", () => fill(example));
  fill(example);
}

function fill(example) {
  fields().forEach((field, index) => {
    const value = Array.isArray(example) ? example[index] : example[field.dataset.column];
    if (value === null && field.required) return;
    field.value = typeof value === "number" ? Number(value.toPrecision(6)) : String(value ?? "");
  });
  predictRow();
}

const predictRow = latest(async () => {
  const wrong = fields().find((field) => !field.validity.valid);
  for (const field of fields()) field.setAttribute("aria-invalid", String(!field.validity.valid));
  if (wrong) {
    showEmpty(`No prediction: enter a number for ${wrong.dataset.column}.`);
    announce(find("empty-text").textContent);
    return;
  }
  const row = Object.fromEntries(fields().map((field) => [field.dataset.column, valueOf(field)]));
  const options = { method: "POST", body: JSON.stringify({ inputs: [row] }), headers: { "content-type": "application/json" } };
  showBusy(true);
  try {
    const started = performance.now();
    const response = await call("predict", options);
    await showPrediction(response, await response.json(), performance.now() - started);
  } finally {
    showBusy(false);
  }
}, (error) => showError(error, predictRow));

// An empty field is a missing value.
function valueOf(field) {
  if (field.value === "") return null;
  return field.type === "number" ? field.valueAsNumber : field.value;
}

function number(name, index) {
  const missing = model.missing[index];
  const field = Object.assign(document.createElement("input"), { type: "number", step: "any", required: !missing });
  field.dataset.column = name;
  return missing ? Object.assign(field, { placeholder: "missing" }) : field;
}

function choice(name, index) {
  const field = document.createElement("select");
  field.dataset.column = name;
  field.append(...model.categories[index].map((category) => new Option(category, category)));
  if (model.missing[index]) field.append(new Option("(missing)", ""));
  return field;
}
