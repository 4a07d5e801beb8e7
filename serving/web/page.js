// The main page: the model, then its form of input.

import { loadExample } from "./example.js";
import { openImage } from "./image.js";
import { openKeyForm, showKeyState } from "./key.js";
import { loadModel, model } from "./model.js";
import { hide } from "./result.js";
import { openTable } from "./table.js";

const find = (id) => document.getElementById(id);

function show(state) {
  for (const id of ["failed", "ready"])
    if (id === state) find(id).hidden = false;
    else hide(find(id), find("title"));
}

let opened = false;

async function start() {
  try {
    await loadModel();
    const example = await loadExample();
    showKeyState();
    show("ready");
    if (!opened) (model.input.kind === "image" ? openImage : openTable)(example);
    else if (!find("rejected").hidden) find("retry").click(); // the request that the key was missing for
    else if (!find("layers-rejected").hidden) find("layers-retry").click();
    opened = true;
  } catch (error) {
    const isLocked = error.status === 401;
    find("model").textContent = isLocked ? "This service requires an API key." : "The model could not be loaded.";
    find("failure").textContent = isLocked ? "" : error.message;
    show(isLocked ? "" : "failed");
  }
}

find("reload").addEventListener("click", start);
openKeyForm(start);
start();
