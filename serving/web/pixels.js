// Images of the model's input shape: flat bytes, and canvases.

import { model } from "./model.js";

// Nested lists [H][W] or [H][W][C] as flat bytes.
export const fromExample = (example) => Uint8Array.from(example.flat(2));

// Red, green and blue of the pixel at an index.
export function colourOf(pixels) {
  const channels = model.input.shape[2];
  return (i) => (channels === 3 ? pixels.subarray(3 * i, 3 * i + 3) : [pixels[i], pixels[i], pixels[i]]);
}

export function paint(canvas, colour) {
  const [height, width] = model.input.shape;
  const image = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) image.data.set([...colour(i), 255], 4 * i);
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(image, 0, 0);
}
