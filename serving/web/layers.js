// Layer outputs as small multiples: one canvas for each layer, its maps side by side.

export function showLayers(list, layers) {
  if (list.children.length !== layers.length) list.replaceChildren(...layers.map(frame));
  layers.forEach((layer, index) => {
    const [canvas, name, shape] = list.children[index].firstChild.children;
    paint(canvas, layer);
    canvas.setAttribute("aria-label", `Values of ${layer.name}`);
    name.textContent = layer.name.replaceAll("_", " ");
    shape.textContent = summary(layer);
  });
}

function frame() {
  const [item, figure, canvas, name, shape] = ["li", "figure", "canvas", "figcaption", "p"].map((tag) => document.createElement(tag));
  canvas.setAttribute("role", "img");
  shape.className = "hint";
  figure.append(canvas, name, shape);
  item.append(figure);
  return item;
}

function summary({ shape, shown, range }) {
  const part = shown[0] < shape[0] ? `, ${shown[0]} shown` : "";
  return `${shape.join(" × ")}${part} · ${range.map((value) => value.toPrecision(2).replace("-", "−")).join(" to ")}`;
}

const MIN_OPACITY = 28; // of the lowest value, so that maps differ from the gaps between them

// The accent colour with the value as its opacity, for both colour schemes.
function paint(canvas, { shown: [maps, height, width], values }) {
  const bytes = Uint8Array.from(atob(values), (letter) => letter.charCodeAt(0));
  const gap = height * width > 1 ? 1 : 0;
  const columns = Math.min(maps, Math.ceil(Math.sqrt(2 * maps)));
  const rows = Math.ceil(maps / columns);
  canvas.width = columns * (width + gap) - gap;
  canvas.height = rows * (height + gap) - gap;
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const accent = getComputedStyle(canvas).color.match(/\d+/g).slice(0, 3);
  bytes.forEach((value, i) => {
    const [map, pixel] = [Math.floor(i / (height * width)), i % (height * width)];
    const x = (map % columns) * (width + gap) + (pixel % width);
    const y = Math.floor(map / columns) * (height + gap) + Math.floor(pixel / width);
    image.data.set([...accent, MIN_OPACITY + (value * (255 - MIN_OPACITY)) / 255], 4 * (y * canvas.width + x));
  });
  context.putImageData(image, 0, 0);
}
