// Occlusion (Zeiler and Fergus 2014): the image with one part covered at a time, many in one request of raw data.

import { model } from "./model.js";
import { call } from "./service.js";

const MAX_BYTES = 1 << 20; // of covered images in one request

// The mean loss of probability of a label by pixel, Float32 [H * W]; null once the result is not `wanted` any more.
export async function lossMap(pixels, label, probability, wanted) {
  const [height, width] = model.input.shape;
  const shorter = Math.min(height, width);
  const side = Math.min(shorter, Math.max(2, Math.round(shorter / 7)));
  const places = grid(height, width, side);
  const outputs = [];
  const count = Math.max(1, Math.min(model.max_batch, Math.floor(MAX_BYTES / pixels.length)));
  for (let start = 0; start < places.length; start += count) {
    outputs.push(...(await infer(places.slice(start, start + count).map((place) => cover(pixels, place, side)))));
    if (!wanted()) return null;
  }
  const loss = new Float32Array(width * height);
  const times = new Float32Array(width * height);
  places.forEach((place, index) => {
    const lost = Math.max(0, probability - outputs[index * model.labels.length + label]);
    for (const pixel of part(place, side, width)) {
      loss[pixel] += lost;
      times[pixel] += 1;
    }
  });
  return loss.map((value, i) => value / Math.max(1, times[i]));
}

function grid(height, width, side) {
  return starts(height, side).flatMap((y) => starts(width, side).map((x) => [y, x]));
}

// Where parts begin along an axis; the last one ends at its end.
function starts(size, side) {
  const step = Math.max(1, side >> 1);
  const positions = [];
  for (let at = 0; at + side < size; at += step) positions.push(at);
  return [...positions, size - side];
}

function* part([top, left], side, width) {
  for (let y = top; y < top + side; y++) for (let x = left; x < left + side; x++) yield y * width + x;
}

function cover(pixels, place, side) {
  const [, width, channels] = model.input.shape;
  const covered = pixels.slice();
  for (const pixel of part(place, side, width))
    for (let c = 0; c < channels; c++) covered[pixel * channels + c] = model.mean[c % model.mean.length];
  return covered;
}

async function infer(images) {
  const size = images.length * images[0].length;
  const input = { name: model.input.name, datatype: "UINT8", shape: [images.length, ...model.input.shape], parameters: { binary_data_size: size } };
  const header = new TextEncoder().encode(JSON.stringify({ inputs: [input], parameters: { binary_data_output: true } }));
  const headers = { "inference-header-content-length": String(header.length), "content-type": "application/octet-stream" };
  const response = await call(model.infer, { method: "POST", body: new Blob([header, ...images]), headers });
  const whole = await response.arrayBuffer();
  return new Float32Array(whole.slice(Number(response.headers.get("inference-header-content-length"))));
}
