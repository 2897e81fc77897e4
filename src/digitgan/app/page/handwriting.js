// What one does with the networks: latents, digits, lines of text, and drawn digits made like
// those of MNIST. No element of a page is touched here.

import { loadNetwork, run, tensor } from "./networks.js";

/** The networks of a page with all that is asked of them; `page` is what page.py has written. */
export function openPage(page) {
  const load = (name) => page.networks[name] && loadNetwork(page.networks[name]);
  const generator = load("generator"), classifier = load("classifier"), encoder = load("encoder");
  const { z_dim: zDim, size, quantiles, directions } = page;
  const digits = page.classes.every((name) => /^[0-9]$/.test(name));

  /** The class that a character is written as: itself, or its other case where only that is one. */
  const classOf = (c) =>
    [c, c.toUpperCase(), c.toLowerCase()].map((name) => page.classes.indexOf(name))
      .find((label) => label >= 0) ?? -1;

  /**
   * Images (uint8, ink 255 on paper 0), one for each label and latent. One in colour has the planes
   * red, green and blue in `colours` as well.
   */
  function generate(labels, latents) {
    const z = tensor([labels.length, zDim]);
    latents.forEach((latent, i) => z.data.set(latent, i * zDim));
    const out = run(generator, z, tensor([labels.length], Float32Array.from(labels)));
    const [, channels, height, width] = out.shape, area = height * width;
    return labels.map((_, i) => {
      const planes = Array.from({ length: channels }, (_, c) => {
        const at = (i * channels + c) * area;
        return Uint8Array.from(out.data.subarray(at, at + area), toPixel);
      });
      if (channels === 1) return { height, width, pixels: planes[0] };
      const [red, green, blue] = planes;
      const pixels = red.map((r, p) => Math.round((r + green[p] + blue[p]) / 3));
      return { height, width, pixels, colours: planes };
    });
  }

  return {
    classes: page.classes,
    size,
    conditional: page.conditional,
    // what it writes, one of them and several, in words
    one: digits ? "digit" : "character",
    several: digits ? "number" : "text",
    writes: page.conditional && page.classes.every((name) => [...name].length === 1),
    draws: Boolean(classifier && encoder),
    styled: Boolean(directions),

    /** The characters of a text that can be written, and its spaces. */
    known: (text) => [...text].filter((c) => c === " " || classOf(c) >= 0).join(""),

    zDim,
    generate,

    /** The latent of a handwriting, from its number. */
    latent: (seed) => drawLatent(seed, zDim, quantiles),

    /** A latent made neater (truncation, 0..1) and moved along slant, weight and height. */
    style(latent, { neatness = 0, slant = 0, weight = 0, height = 0 }) {
      const moved = latent.map((x) => x * (1 - 0.8 * neatness));
      [slant, weight, height].forEach((amount, i) => {
        if (amount && directions)
          for (let d = 0; d < zDim; d++) moved[d] += amount * directions[i][d];
      });
      return moved;
    },

    /** A text in one handwriting: an image for each character, null for a space. */
    write(text, latent) {
      const characters = [...text], names = [...new Set(characters)].filter((c) => c !== " ");
      const labels = names.map(classOf);
      const images = generate(labels, labels.map(() => latent));
      return characters.map((c) => (c === " " ? null : images[names.indexOf(c)]));
    },

    /** Probabilities of the classes for an image (Float32Array, ink 1). */
    recognise(image) {
      const { data } = run(classifier, tensor([1, 1, 28, 28], image));
      const highest = Math.max(...data), powers = Array.from(data, (x) => Math.exp(x - highest));
      const sum = powers.reduce((a, b) => a + b);
      return powers.map((p) => p / sum);
    },

    /** The latent of the handwriting of an image (Float32Array, ink 1) with a label. */
    encode: (image, label) =>
      run(encoder, tensor([1, 1, 28, 28], image), tensor([1], Float32Array.of(label))).data,
  };
}

function toPixel(x) {
  return Math.min(Math.max(Math.round((x + 1) * 127.5), 0), 255);
}

// ---- latents ----

/**
 * A latent, from the number of a handwriting: random numbers from 0 to 1, each looked up in the
 * quantiles of the distribution that the generator was trained with.
 */
export function drawLatent(seed, zDim, quantiles) {
  const random = randomNumbers(seed), last = quantiles.length - 1;
  return Float32Array.from({ length: zDim }, () => {
    const at = Math.min(Math.max(random() * quantiles.length - 0.5, 0), last);
    const low = Math.floor(at), high = Math.min(low + 1, last);
    return quantiles[low] + (at - low) * (quantiles[high] - quantiles[low]);
  });
}

/** Random numbers from 0 to 1, 32 bits each (splitmix32). */
function randomNumbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    return mixed(state) / 2 ** 32;
  };
}

function mixed(bits) {
  bits = Math.imul(bits ^ (bits >>> 16), 0x21f0aaad);
  bits = Math.imul(bits ^ (bits >>> 15), 0x735a2d97);
  return (bits ^ (bits >>> 15)) >>> 0;
}

/** The numbers of `count` handwritings that are shown together, of which `seed` is the first. */
export function neighbours(seed, count) {
  return Array.from({ length: count }, (_, i) => (i ? mixed((seed >>> 0) + i * 0x1000193) : seed));
}

// ---- lines of text ----

const INK = 64; // a pixel above this is ink, where digits are set apart
const FAR = 99;
const MARGIN = 3; // pixels around a line

/**
 * Images set as lines of handwriting, at most `width` pixels long: [[{ left, image, from, to }]],
 * of each image the columns `from` to `to`. Digits stand `gap` pixels from ink to ink, row by row,
 * each row with its neighbours, so that a 7 and a 4 move together. null is a space.
 */
export function setLines(images, width, gap = 3) {
  const lines = [[]];
  let space = 0, edge = [];
  for (const image of images) {
    const glyph = image && inkBounds(image);
    if (!glyph) {
      space += 12;
      continue;
    }
    const line = lines[lines.length - 1], length = glyph.to - glyph.from;
    let left = 0;
    if (line.length) {
      let reach = -FAR;
      for (let y = 0; y < image.height; y++)
        for (let d = -2; d <= 2; d++)
          if (y + d >= 0 && y + d < image.height)
            reach = Math.max(reach, edge[y + d] - glyph.begins[y]);
      left = Math.max(reach + gap, line[line.length - 1].left + 4) + space;
    }
    if (!left || left + length > width) {
      if (line.length) lines.push([]);
      left = 0;
      edge = Array(image.height).fill(-FAR);
    }
    lines[lines.length - 1].push({ left, image, from: glyph.from, to: glyph.to });
    edge = edge.map((end, y) => Math.max(end, left + glyph.ends[y]));
    space = 0;
  }
  return lines;
}

/** Where an image's ink begins and ends, in each row and in all; null without ink. */
function inkBounds({ pixels, width, height }) {
  const begins = Array(height).fill(FAR), ends = Array(height).fill(-FAR);
  let from = width, to = 0;
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      if (pixels[y * width + x] > INK) {
        begins[y] = Math.min(begins[y], x);
        ends[y] = x + 1;
        from = Math.min(from, x);
        to = Math.max(to, x + 1);
      }
  if (!to) return null;
  return { from, to, begins: begins.map((x) => x - from), ends: ends.map((x) => x - from) };
}

/** The length of the longest of some lines, in pixels, with margins. */
export function longest(lines) {
  return Math.max(...lines.flat().map(({ left, from, to }) => left + to - from), 1) + 2 * MARGIN;
}

/** Lines as one image. What is fainter than ink at the sides of a digit is drawn as well. */
export function joinLines(lines, height) {
  const width = longest(lines), page = new Uint8Array(width * height * lines.length);
  lines.forEach((line, row) => {
    for (const { left, image, from, to } of line)
      for (let y = 0; y < height; y++)
        for (let x = Math.max(from - MARGIN, 0); x < Math.min(to + MARGIN, image.width); x++) {
          const at = (row * height + y) * width + MARGIN + left + x - from;
          page[at] = Math.max(page[at], image.pixels[y * image.width + x]);
        }
  });
  return { width, height: height * lines.length, pixels: page };
}

// ---- a drawing, made like MNIST's digits ----

/**
 * Ink (Float32Array, 0..1) of a drawing of width x height as an image of 28x28: cropped to its
 * ink, 20 pixels at its longer side, the centre of its ink in the middle. null without ink.
 */
export function prepareDrawing(ink, width, height) {
  let top = height, bottom = -1, left = width, right = -1;
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      if (ink[y * width + x] > 0.3) {
        top = Math.min(top, y);
        bottom = Math.max(bottom, y);
        left = Math.min(left, x);
        right = Math.max(right, x);
      }
  if (bottom < 0) return null;
  const crop = [bottom - top + 1, right - left + 1];
  const [rows, columns] = crop.map((n) => Math.max(1, Math.round((20 * n) / Math.max(...crop))));
  const small = new Float32Array(rows * columns);
  let most = 0, sum = 0, down = 0, across = 0;
  for (let y = 0; y < rows; y++)
    for (let x = 0; x < columns; x++) {
      const value = areaMean(ink, width, [
        top + (y * crop[0]) / rows, top + ((y + 1) * crop[0]) / rows,
        left + (x * crop[1]) / columns, left + ((x + 1) * crop[1]) / columns,
      ]);
      small[y * columns + x] = value;
      most = Math.max(most, value);
      sum += value;
      down += value * y;
      across += value * x;
    }
  const place = (centre, size) => Math.min(Math.max(Math.round(13.5 - centre), 0), 28 - size);
  const y0 = place(down / sum, rows), x0 = place(across / sum, columns);
  const image = new Float32Array(28 * 28);
  for (let y = 0; y < rows; y++)
    for (let x = 0; x < columns; x++)
      image[(y0 + y) * 28 + x0 + x] = Math.round((255 * small[y * columns + x]) / most) / 255;
  return image;
}

/** The mean of the ink in a rectangle whose sides may lie between pixels. */
function areaMean(ink, width, [top, bottom, left, right]) {
  let sum = 0;
  for (let y = Math.floor(top); y < bottom; y++) {
    const tall = Math.min(y + 1, bottom) - Math.max(y, top);
    for (let x = Math.floor(left); x < right; x++) {
      const wide = Math.min(x + 1, right) - Math.max(x, left);
      sum += tall * wide * ink[y * width + x];
    }
  }
  return sum / ((bottom - top) * (right - left));
}
