// Ink on a canvas: small images enlarged smoothly to the pixels of the screen.

/** Weights of four neighbours for each target pixel (cubic B-spline: no pixel shows). */
function cubicWeights(from, to) {
  const scale = from / to;
  return Array.from({ length: to }, (_, o) => {
    const at = (o + 0.5) * scale - 0.5, low = Math.floor(at), t = at - low;
    const weights = [
      (1 - t) ** 3, 3 * t ** 3 - 6 * t * t + 4, -3 * t ** 3 + 3 * t * t + 3 * t + 1, t ** 3,
    ].map((weight) => weight / 6);
    const places = [-1, 0, 1, 2].map((d) => Math.min(Math.max(low + d, 0), from - 1));
    return { places, weights };
  });
}

/** An image { width, height, pixels: 0..255 } enlarged to wide x high, as numbers 0..255. */
function enlarge({ width, height, pixels }, wide, high) {
  const columns = cubicWeights(width, wide), rows = cubicWeights(height, high);
  const across = new Float32Array(wide * height);
  for (let x = 0; x < wide; x++) {
    const [p0, p1, p2, p3] = columns[x].places, [w0, w1, w2, w3] = columns[x].weights;
    for (let y = 0, row = 0; y < height; y++, row += width)
      across[y * wide + x] = w0 * pixels[row + p0] + w1 * pixels[row + p1]
        + w2 * pixels[row + p2] + w3 * pixels[row + p3];
  }
  const out = new Float32Array(wide * high);
  for (let y = 0; y < high; y++) {
    const [p0, p1, p2, p3] = rows[y].places.map((p) => p * wide);
    const [w0, w1, w2, w3] = rows[y].weights;
    for (let x = 0; x < wide; x++)
      out[y * wide + x] =
        w0 * across[p0 + x] + w1 * across[p1 + x] + w2 * across[p2 + x] + w3 * across[p3 + x];
  }
  return out;
}

/**
 * How dark each grey value 0..255 becomes: an edge of about two pixels of the screen, so that an
 * enlarged stroke looks written; faint strokes stay faint.
 */
function darkness(scale) {
  const half = Math.min(Math.max(0.6 / scale, 0.08), 0.22);
  return Uint8Array.from({ length: 256 }, (_, v) => {
    const t = Math.min(Math.max((v / 255 - 0.38 + half) / (2 * half), 0), 1);
    return Math.round(255 * t * t * (3 - 2 * t));
  });
}

/** An image as ImageData of wide x high, in one colour [red, green, blue] on nothing, or its own. */
export function inked(image, wide, high, [red, green, blue]) {
  if (image.colours) return coloured(image, wide, high);
  const grey = enlarge(image, wide, high), dark = darkness(wide / image.width);
  const data = new ImageData(wide, high), out = data.data;
  for (let i = 0, j = 0; i < grey.length; i++, j += 4) {
    out[j] = red;
    out[j + 1] = green;
    out[j + 2] = blue;
    out[j + 3] = dark[Math.min(Math.max(grey[i] | 0, 0), 255)];
  }
  return data;
}

/** An image in its own colours as ImageData of wide x high. */
function coloured({ width, height, colours }, wide, high) {
  const data = new ImageData(wide, high), out = data.data.fill(255);
  colours.forEach((pixels, channel) => {
    enlarge({ width, height, pixels }, wide, high).forEach((value, i) => {
      out[4 * i + channel] = value; // rounded, and 0..255
    });
  });
  return data;
}

/**
 * Fill a canvas of so many CSS pixels with one image, in the CSS colour of the canvas; one that is
 * not on a page has none, and stays empty.
 */
export function paint(canvas, image, wide, high) {
  if (!canvas.isConnected) return;
  const ratio = Math.min(globalThis.devicePixelRatio || 1, 3);
  canvas.width = Math.max(1, Math.round(wide * ratio));
  canvas.height = Math.max(1, Math.round(high * ratio));
  canvas.style.width = `${wide}px`;
  canvas.style.height = `${high}px`;
  const data = inked(image, canvas.width, canvas.height, colour(canvas, "color"));
  canvas.getContext("2d").putImageData(data, 0, 0);
}

/** A CSS colour of an element, as [red, green, blue]. */
export function colour(element, property) {
  const [red, green, blue] = getComputedStyle(element)[property].match(/[\d.]+/g).map(Number);
  return [red, green, blue];
}

/** Save images, set out as { image, left, top, wide, high } in a picture, as a PNG file. */
export function savePicture(name, parts, wide, high, sheet) {
  const canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
  canvas.width = wide;
  canvas.height = high;
  pen.fillStyle = getComputedStyle(sheet).backgroundColor;
  pen.fillRect(0, 0, wide, high);
  const ink = colour(sheet, "color"), part = document.createElement("canvas");
  for (const { image, left, top, wide: w, high: h } of parts) {
    part.width = w;
    part.height = h;
    part.getContext("2d").putImageData(inked(image, w, h, ink), 0, 0);
    pen.drawImage(part, left, top);
  }
  return new Promise((resolve) => canvas.toBlob((blob) => {
    const link = document.createElement("a"), address = URL.createObjectURL(blob);
    link.href = address;
    link.download = `${name}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
    resolve();
  }, "image/png"));
}
