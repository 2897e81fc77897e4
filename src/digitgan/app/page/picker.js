// The digit picker: a digit in several handwritings, or a number in one.

import { button, eachFrame, element, keys, slider, whenResized } from "./controls.js";
import { joinLines, longest, neighbours, setLines } from "./handwriting.js";
import { paint, savePicture } from "./ink.js";

/** What a picker's model holds, and where it begins. */
export const PICKER_STATE = {
  digit: 7, // the class that is shown in several handwritings, while there is no number
  number: "", // the text that is shown in one handwriting
  handwriting: 0, // the number of the handwriting that writes
  first: 0, // the number of the first of the handwritings that are shown together
  history: [0], // the numbers of the handwritings that were chosen
  count: 10, // how many are shown together
  neatness: 0, // truncation, 0..1
  slant: 0, // these three in standard deviations among handwritings
  weight: 0,
  height: 0,
  inverted: false, // light ink on dark paper
};

const STYLES = ["slant", "weight", "height", "neatness"];
const LEAST_SCALE = 2, MOST_SCALE = 8; // CSS pixels for a pixel of a digit, in a number

/** Build the picker in an element; returns what removes it. */
export function mountPicker(root, model, studio) {
  const get = (name) => model.get(name);
  const change = (values) => {
    for (const [name, value] of Object.entries(values)) model.set(name, value);
    model.save_changes();
  };
  const begin = (seed) => change({
    handwriting: seed,
    history: get("history").includes(seed) ? get("history") : [...get("history"), seed],
  });
  const thumbnails = new Map();
  let drawings = 0, parts = [];
  let folder = null; // where Python saves pictures, once it has answered

  // ---- what is seen ----
  const paper = element("div", { class: "paper" });
  const caption = element("p", { class: "caption", role: "status" });
  const sheet = element("div", { class: "sheet" }, paper);
  const past = element("div",
    { class: "past", role: "group", "aria-label": "earlier handwritings" });

  const digits = keys(studio.writes ? `the ${studio.one} to write` : "the class to write",
    studio.classes.map((name, value) => ({ value, text: name, title: `write ${name}` })),
    (digit) => change({ digit, number: "" }));
  const number = element("input", {
    type: "text", class: "number", inputmode: studio.one === "digit" ? "numeric" : "text", autocomplete: "off", spellcheck: "false",
    maxlength: 120, placeholder: `or type a ${studio.several}`,
    "aria-label": `a ${studio.several} to write`,
    oninput: () => {
      const known = studio.known(number.value), refused = known !== number.value;
      change({ number: known });
      number.value = known;
      if (refused) caption.textContent = `It writes ${studio.classes.join("")} and spaces.`;
    },
  });
  const fresh = button("New handwriting", "draw another handwriting", () => {
    const seed = Math.max(...get("history").filter((n) => n < 1e6), -1) + 1;
    model.set("first", seed);
    begin(seed);
  }, "primary");
  const save = button("Save as PNG", "save what is shown as a picture", () => {
    if (folder) return saveInPython("png");
    const { wide, high } = parts;
    savePicture(fileName(), parts, wide, high, sheet);
    caption.textContent = `Saved ${fileName()}.png.`;
  });
  const film = button("Save as GIF", "save what is shown digit by digit", () => saveInPython("gif"));
  film.hidden = true; // until Python answers
  const looks = keys("paper", [
    { value: false, text: "Ink on paper", title: "dark ink on light paper" },
    { value: true, text: "Inverted", title: "light ink on dark paper" },
  ], (inverted) => change({ inverted }));
  const signed = (n) => (n ? `${n > 0 ? "+" : "−"}${Math.abs(n).toFixed(1)}` : "0");
  const range = { min: -3, max: 3, step: 0.1, unit: signed };
  const deviations = "in standard deviations among handwritings";
  const sliders = {
    slant: slider("Slant",
      { ...range, ends: ["left", "right"], title: `slant, ${deviations}` },
      (slant) => change({ slant })),
    weight: slider("Weight",
      { ...range, ends: ["light", "heavy"], title: `stroke width, ${deviations}` },
      (weight) => change({ weight })),
    height: slider("Height",
      { ...range, ends: ["low", "tall"], title: `height, ${deviations}` },
      (height) => change({ height })),
    neatness: slider("Neatness", {
      min: 0, max: 1, step: 0.05, ends: ["free", "neat"], unit: (n) => `${Math.round(100 * n)} %`,
      title: "truncation: shorter latents, nearer to the mean handwriting",
    }, (neatness) => change({ neatness })),
    count: slider("How many", {
      min: 1, max: 40, step: 1, ends: ["one", "forty"],
      title: "handwritings that are shown together",
    }, (count) => change({ count })),
  };
  const reset = button("Reset", "no slant, weight, height or neatness of its own",
    () => change(Object.fromEntries(STYLES.map((name) => [name, 0]))), "quiet");

  const shown = Object.entries(sliders)
    .filter(([name]) => studio.styled || name === "neatness" || name === "count")
    .map(([, { root: part }]) => part);
  const entry = element("div", { class: "entry" });
  if (studio.conditional) entry.append(digits.root);
  if (studio.writes) entry.append(number);
  const desk = element("div", { class: "desk" }, sheet, caption, past,
    element("div", { class: "row" }, fresh, save, ...(model.send ? [film] : []), looks.root));
  const panel = element("section", { class: "panel", "aria-label": "style" },
    element("div", { class: "head title" }, element("h3", {}, "Style"), reset), ...shown);
  const whole = element("div", { class: "digitgan picker" }, entry, desk, panel);
  root.append(element("div", { class: "digitgan-frame" }, whole));

  // ---- drawing ----
  function latentOf(seed) {
    return studio.style(studio.latent(seed), Object.fromEntries(STYLES.map((n) => [n, get(n)])));
  }

  function draw() {
    if (!sheet.clientWidth) return; // not on a page yet, or no more
    sheet.classList.toggle("inverted", get("inverted"));
    const text = studio.writes && get("number").trim() ? get("number") : "";
    if (text) drawNumber(text);
    else drawDigit();
    caption.textContent = text ? `A ${studio.several}, in one handwriting.`
      : studio.writes ? `Press one to write a ${studio.several} like it.` : "One in each handwriting.";
    paper.dataset.drawings = ++drawings;
  }

  function drawNumber(text) {
    const images = studio.write(text, latentOf(get("handwriting")));
    const canvas = element("canvas", { role: "img", "aria-label": `${text}, in handwriting` });
    const wide = sheet.clientWidth - 32, high = sheet.clientHeight - 24;
    const { lines, scale } = fitLines(images, wide, high, studio.size);
    const page = joinLines(lines, studio.size);
    paper.className = "paper line";
    paper.replaceChildren(canvas);
    paint(canvas, page, page.width * scale, page.height * scale);
    const margin = 24, size = [page.width * 6, page.height * 6];
    parts = [{ image: page, left: margin, top: margin, wide: size[0], high: size[1] }];
    parts.wide = size[0] + 2 * margin;
    parts.high = size[1] + 2 * margin;
  }

  function drawDigit() {
    const seeds = neighbours(get("first"), get("count")), label = get("digit");
    const images = studio.generate(seeds.map(() => label), seeds.map(latentOf));
    const columns = bestColumns(seeds.length, sheet.clientWidth - 24, sheet.clientHeight - 24);
    const rows = Math.ceil(seeds.length / columns);
    const side = Math.floor(Math.min(
      (sheet.clientWidth - 24) / columns, (sheet.clientHeight - 24) / rows, 200));
    const name = studio.conditional ? studio.classes[label] : "sample";
    let cells = [...paper.querySelectorAll(".cell")];
    if (paper.className !== "paper grid" || cells.length !== seeds.length) { // keep the focus
      cells = seeds.map(() => element("button", { type: "button", class: "cell" },
        element("canvas", { "aria-hidden": "true" })));
      cells.forEach((cell, i) => cell.addEventListener("click", () => begin(Number(cell.value))));
      paper.className = "paper grid";
      paper.replaceChildren(...cells);
    }
    paper.style.setProperty("--columns", columns);
    cells.forEach((cell, i) => {
      const chosen = seeds[i] === get("handwriting");
      cell.value = seeds[i];
      cell.title = chosen ? `a ${studio.several} is written in this handwriting`
        : `write a ${studio.several} in this handwriting`;
      cell.setAttribute("aria-label", `${name}, handwriting ${i + 1} of ${cells.length}`);
      cell.setAttribute("aria-pressed", chosen);
      paint(cell.firstChild, images[i], side, side);
    });
    const cell = 112;
    parts = images.map((image, i) => {
      const left = (i % columns) * cell, top = Math.floor(i / columns) * cell;
      return { image, left, top, wide: cell, high: cell };
    });
    parts.wide = columns * cell;
    parts.high = rows * cell;
  }

  function drawPast() {
    get("history").forEach((seed, i) => {
      if (thumbnails.has(seed)) return;
      const [image] = studio.generate([get("digit")], [studio.latent(seed)]);
      const thumbnail = element("button", {
        type: "button", class: "thumbnail", title: `handwriting ${i + 1}`,
        "aria-label": `go back to handwriting ${i + 1}`,
        onclick: () => {
          if (!neighbours(get("first"), get("count")).includes(seed)) model.set("first", seed);
          begin(seed);
        },
      }, element("canvas", { "aria-hidden": "true" }));
      thumbnails.set(seed, { thumbnail, image });
      past.append(thumbnail);
      past.scrollLeft = past.scrollWidth;
      paint(thumbnail.firstChild, image, 40, 40);
    });
    for (const [seed, { thumbnail }] of thumbnails)
      thumbnail.setAttribute("aria-current", seed === get("handwriting"));
  }

  function repaintPast() {
    for (const { thumbnail, image } of thumbnails.values())
      paint(thumbnail.firstChild, image, 40, 40);
  }

  function drawControls() {
    digits.show(studio.writes && get("number").trim() ? null : get("digit"));
    if (number.value !== get("number")) number.value = get("number");
    looks.show(get("inverted"));
    for (const name of Object.keys(sliders)) sliders[name].show(get(name));
    sliders.count.input.disabled = Boolean(get("number").trim());
    reset.disabled = STYLES.every((name) => !get(name));
  }

  function fileName() {
    const what = get("number").trim().replace(/\s+/g, "-").slice(0, 40)
      || (studio.conditional ? studio.classes[get("digit")] : "samples");
    return `${what.replace(/[^\w-]+/g, "-")}-handwriting-${get("handwriting")}`;
  }

  // ---- Python, in a notebook whose kernel runs ----
  function saveInPython(kind) {
    const state = Object.fromEntries(Object.keys(PICKER_STATE).map((name) => [name, get(name)]));
    caption.textContent = `Saving in ${folder} \u2026`; // it waits for a cell that runs
    model.send({ save: kind, state });
  }

  function hear(message) {
    folder = message.folder;
    film.hidden = false;
  }

  function tell() {
    if (get("status")) caption.textContent = get("status");
  }

  const drawSoon = eachFrame(draw), listeners = [];
  const listen = (names, f) => names.forEach((name) => {
    model.on(`change:${name}`, f);
    listeners.push([`change:${name}`, f]);
  });
  listen(Object.keys(PICKER_STATE), drawControls);
  listen(["digit", "number", "inverted"], draw);
  listen(["handwriting", "first", "count", ...STYLES], drawSoon);
  listen(["history", "handwriting"], drawPast);
  listen(["status"], tell);
  model.on("msg:custom", hear);
  const rest = whenResized(sheet, () => (drawSoon(), repaintPast()));
  drawControls();
  draw();
  drawPast();
  model.send?.({ ask: "folder" });
  return () => {
    rest();
    model.off("msg:custom", hear);
    for (const [event, listener] of listeners) model.off(event, listener);
    root.replaceChildren();
  };
}

/**
 * The lines of a text at the largest scale at which they fit into wide x high CSS pixels, about
 * equally long.
 */
export function fitLines(images, wide, high, size) {
  for (let scale = MOST_SCALE; ; scale -= 0.25) {
    let width = Math.max(wide / scale, size), lines = setLines(images, width);
    const fits = (set) => longest(set) * scale <= wide && set.length * size * scale <= high;
    if (!fits(lines) && scale > LEAST_SCALE) continue;
    for (let next = lines; next.length === lines.length && width > size; width -= 4) {
      lines = next;
      next = setLines(images, width - 4);
    }
    return { lines, scale };
  }
}

/** The number of columns at which `count` squares in wide x high are largest. */
function bestColumns(count, wide, high) {
  let best = 1, side = 0;
  for (let columns = 1; columns <= count; columns++) {
    const fits = Math.min(wide / columns, high / Math.ceil(count / columns));
    if (fits > side) [best, side] = [columns, fits];
  }
  return best;
}
