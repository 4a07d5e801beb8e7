// The result: none, a rejection or a prediction. What is shown belongs to the current input.

import { followModel, model } from "./model.js";

const find = (id) => document.getElementById(id);
const MOST_BARS = 12; // of more labels only the most probable ones are shown
const PAUSE = 500; // milliseconds without a new result before a screen reader is given one

let retry = () => {};
find("retry").addEventListener("click", () => retry());

// Hides an element; if it has the focus, `next` gets it.
export function hide(element, next) {
  if (element.contains(document.activeElement)) next.focus();
  element.hidden = true;
}

function show(state) {
  find(state).hidden = false;
  for (const id of ["empty", "rejected", "predicted"]) if (id !== state) hide(find(id), find("result-title"));
}

export function showEmpty(text) {
  show("empty");
  find("empty-text").textContent = text;
  find("error").textContent = "";
  announce("");
}

// Whether the request may be repeated: there was no response, or the service could not give one now.
export const mayHelp = ({ status }) => status === 0 || status === 429 || status >= 500;

// `again` repeats the request where that may help.
export function showError(error, again) {
  show("rejected");
  announce("");
  find("error").textContent = error.message;
  retry = again;
  if (mayHelp(error)) find("retry").hidden = false;
  else hide(find("retry"), find("result-title"));
  find("rejected").scrollIntoView({ block: "nearest" });
}

export function showBusy(busy) {
  find("result").setAttribute("aria-busy", String(busy));
}

export async function showPrediction(response, result, milliseconds) {
  const spent = [...(response.headers.get("server-timing") ?? "").matchAll(/(\w+);dur=([\d.]+)/g)];
  find("timing").textContent = [...spent.map(([, name, time]) => `${name} ${time} ms`), `round trip ${milliseconds.toFixed(1)} ms`].join(" · ");
  await followModel(result.model);
  const [first] = result.predictions;
  if ("value" in first) showValue(first);
  else showClasses(first);
  find("error").textContent = "";
  show("predicted");
  announce(`Prediction: ${find("answer").textContent}`);
}

function showValue({ target, value }) {
  answer(String(Number(value.toPrecision(6))), target);
  const error = model.metrics["test/mae"];
  find("note").textContent = error === undefined ? "" : `The mean absolute error on the test split is ${Number(error.toPrecision(3))}.`;
}

function showClasses({ label, probability, probabilities }) {
  answer(label, percent(probability));
  const all = model.labels.map((name) => [name, probabilities[name]]);
  const entries = all.length <= MOST_BARS ? all : all.toSorted((one, other) => other[1] - one[1]).slice(0, MOST_BARS);
  find("note").textContent = entries.length < all.length ? `The ${entries.length} most probable of ${all.length} labels.` : "";
  const list = find("bars");
  if (list.children.length !== entries.length) list.replaceChildren(...entries.map(bar));
  entries.forEach(([name, share], index) => {
    const [text, track, number] = list.children[index].children;
    text.textContent = name;
    track.firstChild.style.width = `${100 * share}%`;
    number.textContent = percent(share);
    list.children[index].classList.toggle("best", name === label);
  });
}

function answer(label, share) {
  find("label").textContent = label;
  find("label").classList.toggle("long", label.length > 12);
  find("share").textContent = share;
}

function bar() {
  const [item, name, track, fill, number] = ["li", "span", "div", "div", "span"].map((tag) => document.createElement(tag));
  [name.className, track.className, fill.className, number.className] = ["name", "track", "fill", "share"];
  track.append(fill);
  item.append(name, track, number);
  return item;
}

const percent = (share) => `${(100 * share).toFixed(1)}%`;

// To screen readers, once the results stop changing: a drawing has a result for each stroke.
let waiting;
export function announce(text) {
  clearTimeout(waiting);
  if (!text) find("announcement").textContent = "";
  else waiting = setTimeout(() => (find("announcement").textContent = text), PAUSE);
}
