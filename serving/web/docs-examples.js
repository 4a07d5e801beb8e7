// Example responses: what this service answers to the example of the request.

import { call } from "./service.js";

const MAX_TEXT = 20_000; // characters of an example
const MAX_STRING = 100; // of base64 in it
const MAX_LINES = 12; // of plain text
const ERROR = "#/components/schemas/Error";

// The document without the bodies of errors, which are all alike.
export function withoutErrorBodies(document) {
  for (const [, , { responses }] of operations(document))
    for (const response of Object.values(responses))
      if (response.content?.["application/json"]?.schema.$ref === ERROR) delete response.content;
  return document;
}

// Add the response to the example of the request to an operation of the OpenAPI document.
export async function addExample(document, id) {
  const [path, method, { requestBody, responses }] = operations(document).find(([, , { operationId }]) => operationId === id);
  const [[type, content]] = Object.entries(responses["200"].content);
  const target = path.slice(1).replace("{version}", document.info.version);
  content.example ??= example(type, await text(target, await request(document, method, requestBody)));
}

function operations(document) {
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => [path, method.toUpperCase(), operation]));
}

async function request(document, method, requestBody) {
  const content = requestBody?.content ?? {};
  const json = content["application/json"];
  if (!json && "application/octet-stream" in content) return { method, body: await picture(document), headers: { "content-type": "image/png" } };
  if (!json) return { method };
  return { method, body: JSON.stringify(json.example ?? {}), headers: { "content-type": "application/json" } };
}

// A rejected request, such as one without the key, gives no example.
const text = (path, options) => call(path, options).then((response) => response.text(), () => "");

function example(type, body) {
  if (type !== "application/json") return body.split("\n").slice(0, MAX_LINES).join("\n");
  return body && body.length <= MAX_TEXT ? JSON.parse(body, shorten) : undefined;
}

const shorten = (_, value) => (typeof value === "string" && value.length > MAX_STRING ? `${value.slice(0, MAX_STRING)}…` : value);

// The example image of `/predict` as a PNG.
async function picture(document) {
  const rows = document.paths["/predict"].post.requestBody.content["application/json"].example.inputs[0];
  const canvas = Object.assign(window.document.createElement("canvas"), { width: rows[0].length, height: rows.length });
  const image = new ImageData(canvas.width, canvas.height);
  rows.flat().forEach((pixel, i) => image.data.set([...(pixel.length === 3 ? pixel : Array(3).fill(Number(pixel))), 255], 4 * i));
  canvas.getContext("2d").putImageData(image, 0, 0);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}
