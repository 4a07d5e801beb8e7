// The form for the API key, on both pages. `start` loads the page, again after each change of the key.

import { forgetKey, storedKey, storeKey } from "./service.js";

const find = (id) => document.getElementById(id);

export function openKeyForm(start) {
  const form = find("key");
  const input = find("key-input");

  function show(reason) {
    form.hidden = false;
    find("key-error").textContent = reason;
    input.setAttribute("aria-invalid", String(reason !== ""));
    find("key-forget").hidden = !storedKey();
    input.focus();
  }

  function hide() {
    form.hidden = true;
    form.reset();
  }

  document.addEventListener("keyneeded", () => {
    const rejected = storedKey() !== null;
    forgetKey();
    find("key-cancel").hidden = true;
    showKeyState(true);
    show(rejected ? "The service does not accept this key." : "");
  });
  find("key-change").addEventListener("click", () => {
    find("key-cancel").hidden = false;
    show("");
  });
  find("key-cancel").addEventListener("click", () => {
    hide();
    find("key-change").focus();
  });
  find("key-forget").addEventListener("click", () => {
    forgetKey();
    location.reload();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    storeKey(input.value);
    hide();
    showKeyState();
    find("key-change").focus();
    start();
  });
}

// The button that changes the key; links that cannot carry a key are hidden.
export function showKeyState(isNeeded = storedKey() !== null) {
  find("key-change").hidden = !storedKey();
  for (const link of document.querySelectorAll(".keyless")) link.hidden = isNeeded;
}
