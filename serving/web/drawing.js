// The drawing area, by pointer and by keyboard.

import { model } from "./model.js";
import { announce } from "./result.js";

const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const STEPS = 28; // of the keyboard's pen across the area

const find = (id) => document.getElementById(id);
const canvas = find("canvas");
const context = canvas.getContext("2d");

// Colours as in the training data: most of an image is background, so its mean is near the background.
const isDark = () => model.mean.reduce((sum, value) => sum + value, 0) / model.mean.length < 128;
const background = () => (isDark() ? "#000000" : "#ffffff");

let extent = null; // [left, top, right, bottom] of the drawing
let place = [canvas.width / 2, canvas.height / 2]; // of the keyboard's pen
let isDown = false;

// `onStart` is called before a stroke, `onStroke` after each part of it.
export function openDrawing(events) {
  find("colour-field").hidden = model.input.shape[2] !== 3;
  find("colour").value = isDark() ? "#ffffff" : "#000000";
  listenToPointer(events);
  listenToKeys(events);
  return { clear, show, toBlob, isEmpty: () => extent === null };
}

function clear() {
  extent = null;
  isDown = false;
  movePen();
  context.fillStyle = background();
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.lineWidth = canvas.width * Math.max(0.08, 1.2 / model.input.shape[1]); // at least one pixel of the model input
  context.lineCap = context.lineJoin = "round";
}

// An image in the whole area; the pixels of a small one stay visible.
function show(image) {
  const scale = Math.min(canvas.width / image.width, canvas.height / image.height);
  const [width, height] = [image.width * scale, image.height * scale];
  context.imageSmoothingEnabled = scale < 2;
  context.drawImage(image, (canvas.width - width) / 2, (canvas.height - height) / 2, width, height);
}

// The drawing as a PNG. It fills the frame, like the digits and clothes of the usual data sets.
function toBlob() {
  const [left, top, right, bottom] = extent;
  const side = Math.max(right - left, bottom - top) * 1.12;
  const frame = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
  const inner = frame.getContext("2d");
  inner.fillStyle = background();
  inner.fillRect(0, 0, frame.width, frame.height);
  const corner = [(left + right - side) / 2, (top + bottom - side) / 2];
  inner.drawImage(canvas, ...corner, side, side, 0, 0, frame.width, frame.height);
  return new Promise((done) => frame.toBlob(done, "image/png"));
}

function line(from, to) {
  const half = context.lineWidth / 2;
  extent ??= [canvas.width, canvas.height, 0, 0];
  for (const [x, y] of [from, to])
    extent = [Math.min(extent[0], x - half), Math.min(extent[1], y - half), Math.max(extent[2], x + half), Math.max(extent[3], y + half)];
  context.strokeStyle = find("colour").value;
  context.beginPath();
  context.moveTo(...from);
  context.lineTo(...to);
  context.stroke();
}

function listenToPointer({ onStart, onStroke }) {
  let last = null;
  const position = (event) => [(event.offsetX * canvas.width) / canvas.clientWidth, (event.offsetY * canvas.height) / canvas.clientHeight];
  const extend = (from, to) => {
    line(from, to);
    onStroke();
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    find("pen").hidden = true;
    onStart();
    last = position(event);
    extend(last, last);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (last) extend(last, (last = position(event)));
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (last = null));
}

function listenToKeys({ onStart, onStroke, onClear }) {
  const draw = (to) => {
    line(place, to);
    onStroke();
  };
  canvas.addEventListener("keydown", (event) => {
    if (event.key in MOVES) {
      const next = MOVES[event.key].map((step, axis) => Math.min(canvas.width, Math.max(0, place[axis] + (step * canvas.width) / STEPS)));
      if (isDown) draw(next);
      place = next;
    } else if (event.key === " ") {
      if (!isDown) onStart();
      isDown = !isDown;
      announce(isDown ? "Pen down" : "Pen up");
      if (isDown) draw(place);
    } else if (event.key === "Delete") onClear();
    else return;
    event.preventDefault();
    find("pen").hidden = false;
    movePen();
  });
  canvas.addEventListener("focus", () => (find("pen").hidden = !canvas.matches(":focus-visible")));
  canvas.addEventListener("blur", () => (find("pen").hidden = true));
}

// A ring where the keyboard's pen is; filled while it is down.
function movePen() {
  const pen = find("pen");
  pen.style.left = `${(100 * place[0]) / canvas.width}%`;
  pen.style.top = `${(100 * place[1]) / canvas.height}%`;
  pen.classList.toggle("down", isDown);
}
