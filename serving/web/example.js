// The stored example of the model, as the OpenAPI document has it: pixels or a row.

import { call } from "./service.js";

export async function loadExample() {
  const { paths } = await (await call("docs.json")).json();
  return paths["/predict"].post.requestBody.content["application/json"].example.inputs[0];
}
