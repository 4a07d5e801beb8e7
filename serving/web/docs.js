// The API reference: Swagger UI with the OpenAPI document, and responses of this service as examples.

import { addExample, withoutErrorBodies } from "./docs-examples.js";
import { openKeyForm, showKeyState } from "./key.js";
import { call, storedKey } from "./service.js";

const find = (id) => document.getElementById(id);
const OPERATIONS = "operations";

// The example response of an operation is requested when the operation is opened.
function examples(document) {
  const show = (original, { specActions }) => (path, shown) => {
    if (shown && path[0] === OPERATIONS) addExample(document, path.at(-1)).then(() => specActions.updateJsonSpec(document));
    return original(path, shown);
  };
  return { statePlugins: { layout: { wrapActions: { show } } } };
}

// Without what the page has itself (title, form for the key); no link within a button; long texts scroll by keyboard.
function components() {
  const none = () => () => null;
  const DeepLink = (_, { React }) => ({ text }) => React.createElement("span", null, text);
  const scroller = { className: "scroller", tabIndex: 0, role: "group", "aria-label": "Example" };
  const highlightCode = (Original, { React }) => (props) => React.createElement("div", scroller, React.createElement(Original, props));
  return { wrapComponents: { info: none, authorizeBtn: none, authorizeOperationBtn: none, DeepLink, highlightCode } };
}

// Of Swagger UI's controls that have none.
const NAMES = { ".copy-to-clipboard button": "Copy", "textarea.body-param__text": "Request body", "textarea.curl": "curl command" };

function nameControls() {
  for (const [selector, name] of Object.entries(NAMES))
    for (const control of find("interface").querySelectorAll(selector)) control.ariaLabel ??= name;
}

function addKey(request) {
  if (storedKey()) request.headers["x-api-key"] = storedKey();
  return request;
}

// Without a valid key the document has no names, and most operations no response.
async function needsKey() {
  try {
    await call("model");
    return false;
  } catch (error) {
    if (error.status !== 401) throw error;
    return true;
  }
}

async function start() {
  try {
    const isLocked = await needsKey();
    showKeyState();
    const spec = withoutErrorBodies(await (await call("docs.json")).json());
    find("about").textContent = spec.info.description.replaceAll("`", "");
    // validatorUrl is off: Swagger UI would send the document to a public site.
    SwaggerUIBundle({
      spec, domNode: find("interface"), deepLinking: true, validatorUrl: null, requestInterceptor: addKey,
      plugins: isLocked ? [components] : [examples(spec), components], syntaxHighlight: false, defaultModelsExpandDepth: 0, docExpansion: "list", displayRequestDuration: true,
    });
    find("failure").textContent = "";
  } catch (error) {
    find("about").textContent = "The document could not be loaded.";
    find("failure").textContent = error.message;
  }
}

new MutationObserver(nameControls).observe(find("interface"), { childList: true, subtree: true });
openKeyForm(start);
start();
