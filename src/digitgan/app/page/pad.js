// The drawing pad: a digit drawn by hand is recognised, and a number goes on in its handwriting.

import { button, eachFrame, element, keys, whenResized } from "./controls.js";
import { joinLines, prepareDrawing } from "./handwriting.js";
import { colour, inked, paint, savePicture } from "./ink.js";
import { fitLines } from "./picker.js";

/** What a pad's model holds, and where it begins. */
export const PAD_STATE = {
  // { time, image, label, latent }: 784 numbers from 0 to 1, the drawing made like MNIST's digits;
  // what it is, as recognised or corrected; z_dim numbers, its handwriting
  drawn: null,
  refined: null, // { time, latent }: the handwriting of that drawing, as Python found it
  number: "0123456789", // what is written in it
};

const SIZE = 280; // pixels at which a drawing is read, whatever its size on the screen
const PAUSE = 120; // milliseconds after the last stroke

/** Build the pad in an element; returns what removes it. */
export function mountPad(root, model, studio) {
  const get = (name) => model.get(name);
  const change = (values) => {
    for (const [name, value] of Object.entries(values)) model.set(name, value);
    model.save_changes();
  };
  let strokes = [], stroke = null, timer = 0, writings = 0, page = null;
  let own = null, seen; // the time of the drawing whose strokes are shown, and of the last one

  // ---- what is seen ----
  const canvas = element("canvas", {
    class: "pad", tabindex: 0, role: "img",
    "aria-label": `drawing pad: draw one ${studio.one} with mouse, pen or finger; Escape clears it`,
  });
  const hint = element("p", { class: "hint", "aria-hidden": "true" }, `Draw a ${studio.one} here`);
  const board = element("div", { class: "board" }, canvas, hint);
  const clear = button("Clear", "empty the pad", clearPad);
  const undo = button("Undo", "take the last stroke back", () => {
    strokes.pop();
    if (strokes.length) {
      redraw();
      recognise();
    } else clearPad();
  });
  const guesses = keys("what you drew",
    studio.classes.map((name, value) => ({ value, text: name, title: `it is ${name}` })),
    (label) => goOn(get("drawn").image, label));
  const told = element("p", { class: "caption", role: "status" });
  const paper = element("div", { class: "paper line" });
  const sheet = element("div", { class: "sheet" }, paper);
  const number = element("input", {
    type: "text", class: "number", inputmode: studio.one === "digit" ? "numeric" : "text", autocomplete: "off", spellcheck: "false",
    maxlength: 120, "aria-label": `the ${studio.several} to write in your handwriting`,
    oninput: () => {
      number.value = studio.known(number.value);
      change({ number: number.value });
    },
  });
  const save = button("Save as PNG", "save what is shown as a picture", () => {
    if (!page) return;
    const part = { image: page, left: 24, top: 24, wide: page.width * 6, high: page.height * 6 };
    savePicture("my-handwriting", [part], part.wide + 48, part.high + 48, sheet);
    told.textContent = "Saved my-handwriting.png.";
  });
  const easel = element("div", { class: "easel" }, board,
    element("div", { class: "row" }, undo, clear));
  const desk = element("div", { class: "desk" }, guesses.root, told, sheet,
    element("div", { class: "row" }, number, save));
  const whole = element("div", { class: "digitgan drawing" }, easel, desk);
  root.append(element("div", { class: "digitgan-frame" }, whole));

  // ---- drawing ----
  function place(event) {
    const box = canvas.getBoundingClientRect();
    const pen = event.pointerType === "pen" && event.pressure ? 0.6 + 0.8 * event.pressure : 1;
    return [
      ((event.clientX - box.left) * SIZE) / box.width,
      ((event.clientY - box.top) * SIZE) / box.height, 20 * pen,
    ];
  }

  /** Draw strokes, smoothed through the middles of their points, at so many pixels a side. */
  function trace(pen, side) {
    pen.setTransform(side / SIZE, 0, 0, side / SIZE, 0, 0);
    pen.lineCap = pen.lineJoin = "round";
    for (const points of strokes) {
      let [x, y] = points[0];
      for (let i = 0; i < points.length; i++) {
        const [px, py, wide] = points[i], next = points[i + 1];
        const [mx, my] = next ? [(px + next[0]) / 2, (py + next[1]) / 2] : [px, py];
        pen.lineWidth = wide;
        pen.beginPath();
        pen.moveTo(x, y);
        pen.quadraticCurveTo(px, py, mx, my);
        pen.stroke();
        [x, y] = [mx, my];
      }
    }
  }

  function redraw() {
    if (!board.clientWidth) return; // not on a page yet, or no more
    const ratio = Math.min(globalThis.devicePixelRatio || 1, 3);
    const side = Math.max(1, Math.round(board.clientWidth * ratio));
    canvas.width = canvas.height = side; // which empties it
    const pen = canvas.getContext("2d"), [red, green, blue] = colour(canvas, "color");
    pen.strokeStyle = `rgb(${red} ${green} ${blue})`;
    trace(pen, side);
    const drawn = get("drawn"), given = drawn && !strokes.length; // not drawn on this canvas
    if (given) {
      const pixels = drawn.image.map((ink) => 255 * ink);
      const image = { width: 28, height: 28, pixels };
      pen.putImageData(inked(image, side, side, [red, green, blue]), 0, 0);
    }
    board.classList.toggle("empty", !strokes.length && !given);
    undo.disabled = !strokes.length;
    clear.disabled = !strokes.length && !given;
  }
  const redrawSoon = eachFrame(redraw);

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button || stroke) return;
    event.preventDefault();
    canvas.focus({ preventScroll: true, focusVisible: false });
    canvas.setPointerCapture(event.pointerId);
    clearTimeout(timer);
    stroke = { id: event.pointerId, points: [place(event)] };
    strokes.push(stroke.points);
    redraw();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (stroke?.id !== event.pointerId) return;
    const steps = event.getCoalescedEvents?.() ?? [];
    for (const step of steps.length ? steps : [event]) stroke.points.push(place(step));
    redrawSoon();
  });
  for (const end of ["pointerup", "pointercancel"])
    canvas.addEventListener(end, (event) => {
      if (stroke?.id !== event.pointerId) return;
      stroke = null;
      redraw();
      timer = setTimeout(recognise, PAUSE);
    });
  canvas.addEventListener("keydown", (event) => event.key === "Escape" && clearPad());

  function clearPad() {
    clearTimeout(timer);
    strokes = [];
    stroke = null;
    change({ drawn: null });
    redraw();
  }

  // ---- recognising, and going on ----
  function recognise() {
    const reading = document.createElement("canvas");
    reading.width = reading.height = SIZE;
    const pen = reading.getContext("2d", { willReadFrequently: true });
    trace(pen, SIZE);
    const { data } = pen.getImageData(0, 0, SIZE, SIZE);
    const ink = Float32Array.from({ length: SIZE * SIZE }, (_, i) => data[4 * i + 3] / 255);
    const image = prepareDrawing(ink, SIZE, SIZE);
    if (!image) return;
    const probabilities = studio.recognise(image);
    goOn(Array.from(image), probabilities.indexOf(Math.max(...probabilities)));
  }

  /** Find the handwriting of an image, taken for this label, and write in it. */
  function goOn(image, label) {
    const latent = Array.from(studio.encode(Float32Array.from(image), label));
    own = Date.now();
    change({ drawn: { time: own, image, label, latent } });
  }

  function showProbabilities(probabilities) {
    guesses.faces.forEach((face, i) =>
      face.style.setProperty("--filled", probabilities ? `${100 * probabilities[i]}%` : "0%"));
  }

  function write() {
    if (!sheet.clientWidth) return;
    const text = get("number").trim() ? get("number") : "", drawn = get("drawn");
    const found = drawn && (get("refined")?.time === drawn.time ? get("refined") : drawn);
    const latent = found?.latent ?? new Float32Array(studio.zDim); // the mean, before a drawing
    sheet.classList.toggle("waiting", !drawn);
    paper.replaceChildren();
    page = null;
    if (text) {
      const label = `${text}, in your handwriting`;
      const image = element("canvas", { role: "img", "aria-label": label });
      const { lines, scale } =
        fitLines(studio.write(text, latent), sheet.clientWidth - 32, sheet.clientHeight - 24, studio.size);
      page = joinLines(lines, studio.size);
      paper.append(image);
      paint(image, page, page.width * scale, page.height * scale);
    }
    save.disabled = !page;
    paper.dataset.writings = ++writings;
  }

  function show() {
    const drawn = get("drawn"), label = drawn?.label ?? null;
    if (drawn && drawn.time !== own) { // in Python, or in another view of this pad
      strokes = [];
      redraw();
    }
    if (drawn?.time !== seen) {
      seen = drawn?.time;
      showProbabilities(drawn && studio.recognise(Float32Array.from(drawn.image)));
    }
    guesses.show(label);
    for (const input of guesses.inputs.values()) input.disabled = !drawn;
    if (number.value !== get("number")) number.value = get("number");
    told.textContent = get("status") || (label === null
      ? `Draw a ${studio.one}: this ${studio.several} goes on in your handwriting.`
      : `Recognised as ${studio.classes[label]}. Wrong? Press the right key.`);
  }

  const writeSoon = eachFrame(write), listeners = [];
  const listen = (name, f) => {
    model.on(`change:${name}`, f);
    listeners.push([`change:${name}`, f]);
  };
  for (const name of ["drawn", "number", "status"]) listen(name, show);
  for (const name of ["drawn", "refined", "number"]) listen(name, writeSoon);
  const rest = [whenResized(sheet, writeSoon), whenResized(board, redrawSoon)];
  show();
  redraw();
  write();
  return () => {
    clearTimeout(timer);
    for (const end of rest) end();
    for (const [event, listener] of listeners) model.off(event, listener);
    root.replaceChildren();
  };
}
