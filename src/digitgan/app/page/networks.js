// The networks, as torch.export writes them down: a list of operations on tensors, each named as
// in PyTorch (ATen), with its arguments by name. A tensor is { shape: [B, C, H, W], data }, data a
// Float32Array in torch's order. This is a second implementation of what torch computes: the tests
// hold it to the first one, pixel by pixel.

/** A network ready to run, from its description: weights are decoded once. */
export function loadNetwork({ inputs, nodes, output, weights, data }) {
  const bytes = decodeBase64(data);
  const constants = {};
  for (const [name, { shape, type, offset }] of Object.entries(weights)) {
    const count = shape.reduce((a, b) => a * b, 1);
    const decode = type === "float16" ? decodeHalf : decodeFloat;
    constants[name] = { shape, data: decode(bytes, offset, count) };
  }
  for (const { op } of nodes) if (!OPERATIONS[op]) throw new Error(`no operation ${op}`);
  return { inputs, nodes, output, constants };
}

/** What a network returns for some tensors, given in the order of its inputs. */
export function run(network, ...tensors) {
  const values = { ...network.constants };
  network.inputs.forEach((name, i) => (values[name] = tensors[i]));
  const resolve = (value) => {
    if (Array.isArray(value)) return value.map(resolve);
    if (value === "@batch") return tensors[0].shape[0];
    return typeof value === "string" && value[0] === "%" ? values[value.slice(1)] : value;
  };
  for (const { name, op, args } of network.nodes) {
    const resolved = {};
    for (const key in args) resolved[key] = resolve(args[key]);
    values[name] = OPERATIONS[op](resolved);
  }
  return values[network.output];
}

export function tensor(shape, data) {
  return { shape, data: data ?? new Float32Array(shape.reduce((a, b) => a * b, 1)) };
}

function decodeBase64(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

function decodeFloat(bytes, offset, count) {
  return new Float32Array(bytes.slice(offset, offset + 4 * count).buffer);
}

/** IEEE half precision: a sign, 5 bits of exponent, 10 bits of fraction. */
function decodeHalf(bytes, offset, count) {
  const values = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const bits = bytes[offset + 2 * i] | (bytes[offset + 2 * i + 1] << 8);
    const exponent = (bits >> 10) & 31, fraction = bits & 1023;
    const size = exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24;
    values[i] = bits & 0x8000 ? -size : size;
  }
  return values;
}

// ---- matrix products: nearly all of the time goes here ----

/**
 * Sums over k of a[m, k] * b[n, k], plus bias[m]. Both matrices lie row by row. Sum (m, n) goes to
 * image floor(n / positions), channel m, position n % positions of a map of `channels`, of which
 * the first to be written is `first`. Four rows of a and three of b are multiplied at a time, so
 * that a number once read is used several times.
 */
function multiply(a, b, M, N, K, { out, bias = null, channels = M, first = 0, positions = 1 }) {
  const sums = new Float64Array(12);
  for (let m = 0; m < M; m += 4) {
    const a0 = m * K, a1 = Math.min(m + 1, M - 1) * K;
    const a2 = Math.min(m + 2, M - 1) * K, a3 = Math.min(m + 3, M - 1) * K;
    for (let n = 0; n < N; n += 3) {
      const b0 = n * K, b1 = Math.min(n + 1, N - 1) * K, b2 = Math.min(n + 2, N - 1) * K;
      let s00 = 0, s01 = 0, s02 = 0, s10 = 0, s11 = 0, s12 = 0;
      let s20 = 0, s21 = 0, s22 = 0, s30 = 0, s31 = 0, s32 = 0;
      for (let k = 0; k < K; k++) {
        const y0 = b[b0 + k], y1 = b[b1 + k], y2 = b[b2 + k];
        let x = a[a0 + k];
        s00 += x * y0; s01 += x * y1; s02 += x * y2;
        x = a[a1 + k];
        s10 += x * y0; s11 += x * y1; s12 += x * y2;
        x = a[a2 + k];
        s20 += x * y0; s21 += x * y1; s22 += x * y2;
        x = a[a3 + k];
        s30 += x * y0; s31 += x * y1; s32 += x * y2;
      }
      sums[0] = s00; sums[1] = s10; sums[2] = s20; sums[3] = s30;
      sums[4] = s01; sums[5] = s11; sums[6] = s21; sums[7] = s31;
      sums[8] = s02; sums[9] = s12; sums[10] = s22; sums[11] = s32;
      for (let j = 0; j < 3 && n + j < N; j++) {
        const image = Math.floor((n + j) / positions), position = (n + j) % positions;
        for (let i = 0; i < 4 && m + i < M; i++)
          out[(image * channels + first + m + i) * positions + position] =
            sums[4 * j + i] + (bias ? bias[first + m + i] : 0);
      }
    }
  }
}

function linear({ input, weight, bias }) {
  const [outputs, inputs] = weight.shape, rows = input.data.length / inputs;
  const out = tensor([...input.shape.slice(0, -1), outputs]);
  multiply(weight.data, input.data, outputs, rows, inputs, { out: out.data, bias: bias?.data });
  return out;
}

/** A convolution: the patches that the kernel sees, row by row, times the weights. */
function conv2d({ input, weight, bias, stride, padding, dilation, groups }) {
  const [B, C, H, W] = input.shape, [outputs, inputs, kh, kw] = weight.shape;
  const [sy, sx] = pair(stride), [py, px] = pair(padding), [dy, dx] = pair(dilation);
  const OH = Math.floor((H + 2 * py - dy * (kh - 1) - 1) / sy) + 1;
  const OW = Math.floor((W + 2 * px - dx * (kw - 1) - 1) / sx) + 1;
  const out = tensor([B, outputs, OH, OW]), positions = OH * OW, each = outputs / groups;
  const K = inputs * kh * kw, patches = new Float64Array(B * positions * K);
  const offsets = new Int32Array(kh * kw); // on a map, of what the kernel sees; -1 is outside
  for (let group = 0; group < groups; group++) {
    let to = 0;
    for (let n = 0; n < B; n++)
      for (let oy = 0; oy < OH; oy++)
        for (let ox = 0; ox < OW; ox++) {
          for (let i = 0; i < offsets.length; i++) {
            const y = oy * sy - py + Math.floor(i / kw) * dy, x = ox * sx - px + (i % kw) * dx;
            offsets[i] = y >= 0 && y < H && x >= 0 && x < W ? y * W + x : -1;
          }
          for (let c = 0; c < inputs; c++) {
            const map = (n * C + group * inputs + c) * H * W;
            for (let i = 0; i < offsets.length; i++, to++)
              patches[to] = offsets[i] < 0 ? 0 : input.data[map + offsets[i]];
          }
        }
    const rows = weight.data.subarray(group * each * K, (group + 1) * each * K);
    const place = { out: out.data, bias: bias?.data, channels: outputs, first: group * each };
    multiply(rows, patches, each, B * positions, K, { ...place, positions });
  }
  return out;
}

/** A transposed convolution: each input position adds its kernel to the output around it. */
function convTranspose2d({
  input, weight, bias, stride, padding, output_padding, groups, dilation,
}) {
  const [B, C, H, W] = input.shape, [, each, kh, kw] = weight.shape;
  const [sy, sx] = pair(stride), [py, px] = pair(padding), [dy, dx] = pair(dilation);
  const [ey, ex] = pair(output_padding), outputs = each * groups, inputs = C / groups;
  const OH = (H - 1) * sy - 2 * py + dy * (kh - 1) + ey + 1;
  const OW = (W - 1) * sx - 2 * px + dx * (kw - 1) + ex + 1;
  const out = tensor([B, outputs, OH, OW]), M = each * kh * kw, P = H * W;
  if (bias)
    for (let i = 0; i < out.data.length; i++)
      out.data[i] = bias.data[Math.floor(i / (OH * OW)) % outputs];
  const kernels = new Float32Array(M * inputs), columns = new Float32Array(B * P * inputs);
  const spread = new Float32Array(B * P * M);
  for (let group = 0; group < groups; group++) {
    for (let c = 0; c < inputs; c++) {
      for (let m = 0; m < M; m++)
        kernels[m * inputs + c] = weight.data[(group * inputs + c) * M + m];
      for (let n = 0; n < B; n++)
        for (let p = 0; p < P; p++)
          columns[(n * P + p) * inputs + c] = input.data[(n * C + group * inputs + c) * P + p];
    }
    multiply(kernels, columns, M, B * P, inputs, { out: spread });
    let from = 0;
    for (let n = 0; n < B; n++)
      for (let iy = 0; iy < H; iy++)
        for (let ix = 0; ix < W; ix++)
          for (let c = 0; c < each; c++) {
            const map = (n * outputs + group * each + c) * OH * OW;
            for (let ky = 0; ky < kh; ky++) {
              const y = iy * sy - py + ky * dy;
              for (let kx = 0; kx < kw; kx++, from++) {
                const x = ix * sx - px + kx * dx;
                if (y >= 0 && y < OH && x >= 0 && x < OW)
                  out.data[map + y * OW + x] += spread[from];
              }
            }
          }
  }
  return out;
}

// ---- normalisation ----

/** Each channel times a scale, plus a shift: BatchNorm with the statistics of training. */
function scaleShift({ input, scale, shift }) {
  const channels = input.shape[1], size = input.data.length / input.shape[0] / channels;
  const out = tensor(input.shape);
  for (let i = 0, map = 0; i < out.data.length; map++) {
    const a = scale.data[map % channels], b = shift.data[map % channels];
    for (const end = i + size; i < end; i++) out.data[i] = a * input.data[i] + b;
  }
  return out;
}

/** BatchNorm with the statistics of the batch. */
function batchNorm({ input, weight, bias, eps }) {
  const [B, channels] = input.shape, size = input.data.length / B / channels;
  const scale = tensor([channels]), shift = tensor([channels]);
  for (let c = 0; c < channels; c++) {
    let sum = 0, squares = 0;
    const each = (visit) => {
      for (let n = 0; n < B; n++)
        for (let i = 0; i < size; i++) visit(input.data[(n * channels + c) * size + i]);
    };
    each((x) => (sum += x));
    const mean = sum / (B * size);
    each((x) => (squares += (x - mean) ** 2));
    scale.data[c] = (weight ? weight.data[c] : 1) / Math.sqrt(squares / (B * size) + eps);
    shift.data[c] = (bias ? bias.data[c] : 0) - mean * scale.data[c];
  }
  return scaleShift({ input, scale, shift });
}

// ---- places: shapes, pooling, padding, resizing ----

function pair(value) {
  return Array.isArray(value) ? [value[0], value[value.length - 1]] : [value, value];
}

function mapped(input, f) {
  const data = new Float32Array(input.data.length);
  for (let i = 0; i < data.length; i++) data[i] = f(input.data[i]);
  return { shape: input.shape, data };
}

/** By itself, since it runs on every map. */
function relu({ self }) {
  const data = new Float32Array(self.data.length);
  for (let i = 0; i < data.length; i++) data[i] = self.data[i] > 0 ? self.data[i] : 0;
  return { shape: self.shape, data };
}

function reshape(input, shape) {
  const known = shape.reduce((a, b) => (b < 0 ? a : a * b), 1);
  return { shape: shape.map((n) => (n < 0 ? input.data.length / known : n)), data: input.data };
}

function flatten({ self, start_dim, end_dim }) {
  const end = end_dim < 0 ? end_dim + self.shape.length : end_dim;
  return reshape(self, [...self.shape.slice(0, start_dim), -1, ...self.shape.slice(end + 1)]);
}

function unflatten({ self, dim, sizes }) {
  const at = dim < 0 ? dim + self.shape.length : dim;
  return reshape(self, [...self.shape.slice(0, at), ...sizes, ...self.shape.slice(at + 1)]);
}

/** A tensor of some shape whose entry at an index is f(index); the index is reused. */
function filled(shape, f) {
  const out = tensor(shape), index = shape.map(() => 0);
  for (let i = 0; i < out.data.length; i++) {
    out.data[i] = f(index);
    for (let d = shape.length - 1; d >= 0 && ++index[d] === shape[d]; d--) index[d] = 0;
  }
  return out;
}

function cat({ tensors, dim }) {
  const first = tensors[0], at = dim < 0 ? dim + first.shape.length : dim;
  const shape = first.shape.slice();
  shape[at] = tensors.reduce((sum, t) => sum + t.shape[at], 0);
  const outer = shape.slice(0, at).reduce((a, b) => a * b, 1), out = tensor(shape);
  for (let o = 0, to = 0; o < outer; o++)
    for (const { data } of tensors) {
      const chunk = data.length / outer;
      out.data.set(data.subarray(o * chunk, (o + 1) * chunk), to);
      to += chunk;
    }
  return out;
}

function slice({ self, dim, start, end, step }) {
  const at = dim < 0 ? dim + self.shape.length : dim, size = self.shape[at];
  const bound = (n) => Math.min(Math.max(n < 0 ? n + size : n, 0), size);
  const from = bound(start ?? 0), to = bound(end ?? size), shape = self.shape.slice();
  shape[at] = Math.max(Math.ceil((to - from) / step), 0);
  const inner = self.shape.slice(at + 1).reduce((a, b) => a * b, 1), count = shape[at] * inner;
  const out = tensor(shape);
  for (let i = 0; i < out.data.length; i++) {
    const o = Math.floor(i / count), rest = i % count;
    const row = from + Math.floor(rest / inner) * step;
    out.data[i] = self.data[(o * size + row) * inner + (rest % inner)];
  }
  return out;
}

function embedding({ weight, indices }) {
  const size = weight.shape[1], out = tensor([...indices.shape, size]);
  indices.data.forEach((label, i) =>
    out.data.set(weight.data.subarray(label * size, (label + 1) * size), i * size));
  return out;
}

/** Two tensors, or a tensor and a number, entry by entry, with torch's broadcasting. */
function elementwise(f) {
  return ({ self, other, alpha = 1 }) => {
    if (typeof other === "number") return mapped(self, (x) => f(x, alpha * other));
    const rank = Math.max(self.shape.length, other.shape.length);
    const [a, b] = [self, other].map((t) => {
      const shape = [...Array(rank - t.shape.length).fill(1), ...t.shape], strides = [];
      for (let d = rank - 1, step = 1; d >= 0; step *= shape[d], d--)
        strides[d] = shape[d] === 1 ? 0 : step;
      return { shape, at: (index) => index.reduce((sum, i, d) => sum + i * strides[d], 0) };
    });
    const shape = a.shape.map((n, d) => (n === 1 ? b.shape[d] : n));
    return filled(shape, (i) => f(self.data[a.at(i)], alpha * other.data[b.at(i)]));
  };
}

function pixelShuffle({ self, upscale_factor: r }) {
  const [B, C, H, W] = self.shape;
  return filled([B, C / r / r, H * r, W * r], ([n, c, y, x]) => {
    const channel = (c * r + (y % r)) * r + (x % r);
    return self.data[((n * C + channel) * H + Math.floor(y / r)) * W + Math.floor(x / r)];
  });
}

function pixelUnshuffle({ self, downscale_factor: r }) {
  const [B, C, H, W] = self.shape;
  return filled([B, C * r * r, H / r, W / r], ([n, c, y, x]) => {
    const dy = Math.floor(c / r) % r, dx = c % r, channel = Math.floor(c / r / r);
    return self.data[((n * C + channel) * H + y * r + dy) * W + x * r + dx];
  });
}

/** Pooling: `fold` goes over the entries of a window that lie on the map, `close` ends it. */
function pool(input, args, start, fold, close) {
  const [B, C, H, W] = input.shape, [kh, kw] = pair(args.kernel_size);
  const [sy, sx] = pair(args.stride?.length ? args.stride : args.kernel_size);
  const [py, px] = pair(args.padding), [dy, dx] = pair(args.dilation ?? 1);
  const size = (n, k, s, p, d) => {
    const steps = (n + 2 * p - d * (k - 1) - 1) / s;
    if (!args.ceil_mode) return Math.floor(steps) + 1;
    const up = Math.ceil(steps) + 1;
    return (up - 1) * s >= n + p ? up - 1 : up; // a window begins on the map or left of it
  };
  return filled([B, C, size(H, kh, sy, py, dy), size(W, kw, sx, px, dx)], ([n, c, oy, ox]) => {
    let value = start, seen = 0;
    for (let ky = 0; ky < kh; ky++)
      for (let kx = 0; kx < kw; kx++) {
        const y = oy * sy - py + ky * dy, x = ox * sx - px + kx * dx;
        if (y < 0 || y >= H || x < 0 || x >= W) continue;
        value = fold(value, input.data[((n * C + c) * H + y) * W + x]);
        seen++;
      }
    return close(value, seen, kh * kw);
  });
}

function maxPool2d(args) {
  return pool(args.self, args, -Infinity, Math.max, (value) => value);
}

function avgPool2d(args) {
  const { count_include_pad: all, divisor_override: divisor } = args;
  if (args.ceil_mode) throw new Error("avg_pool2d with ceil_mode: no such operation");
  return pool(args.self, args, 0, (sum, x) => sum + x,
    (sum, seen, whole) => sum / (divisor || (all ? whole : seen)));
}

function pad({ self, pad: sides, mode, value }) {
  const rank = self.shape.length, before = self.shape.map(() => 0), shape = self.shape.slice();
  for (let i = 0; 2 * i < sides.length; i++) {
    before[rank - 1 - i] = sides[2 * i];
    shape[rank - 1 - i] += sides[2 * i] + sides[2 * i + 1];
  }
  const source = (i, size) => { // the entry that is repeated, or -1 for none
    if (i >= 0 && i < size) return i;
    if (mode === "replicate") return Math.min(Math.max(i, 0), size - 1);
    return mode === "reflect" ? (i < 0 ? -i : 2 * size - 2 - i) : -1;
  };
  return filled(shape, (index) => {
    let at = 0;
    for (let d = 0; d < rank; d++) {
      const i = source(index[d] - before[d], self.shape[d]);
      if (i < 0) return value ?? 0;
      at = at * self.shape[d] + i;
    }
    return self.data[at];
  });
}

/** The height and width of a resized map, and how many source pixels a target pixel is wide. */
function resizing({ input, output_size: size, scale_factors: factors, align_corners: aligned }) {
  const from = input.shape.slice(2);
  const to = size ?? from.map((n, d) => Math.floor(n * factors[d]));
  const steps = from.map((n, d) => {
    if (aligned) return to[d] > 1 ? (n - 1) / (to[d] - 1) : 0;
    return factors ? 1 / factors[d] : n / to[d];
  });
  return [...to, ...steps];
}

function upsampleBilinear2d(args) {
  const { input, align_corners: aligned } = args, [B, C, H, W] = input.shape;
  const [OH, OW, stepY, stepX] = resizing(args);
  const place = (o, step, size) => {
    const at = aligned ? o * step : Math.max((o + 0.5) * step - 0.5, 0);
    const low = Math.min(Math.floor(at), size - 1);
    return [low, Math.min(low + 1, size - 1), at - low];
  };
  const rows = Array.from({ length: OH }, (_, o) => place(o, stepY, H));
  const columns = Array.from({ length: OW }, (_, o) => place(o, stepX, W));
  return filled([B, C, OH, OW], ([n, c, oy, ox]) => {
    const map = (n * C + c) * H * W, [y0, y1, v] = rows[oy], [x0, x1, u] = columns[ox];
    const at = (y, x) => input.data[map + y * W + x];
    return (1 - v) * ((1 - u) * at(y0, x0) + u * at(y0, x1))
      + v * ((1 - u) * at(y1, x0) + u * at(y1, x1));
  });
}

function upsampleNearest2d(args) {
  const { input } = args, [B, C, H, W] = input.shape;
  const [OH, OW, stepY, stepX] = resizing(args);
  return filled([B, C, OH, OW], ([n, c, oy, ox]) => {
    const y = Math.min(Math.floor(oy * stepY), H - 1), x = Math.min(Math.floor(ox * stepX), W - 1);
    return input.data[((n * C + c) * H + y) * W + x];
  });
}

const OPERATIONS = {
  linear,
  conv2d,
  conv_transpose2d: convTranspose2d,
  scale_shift: scaleShift,
  batch_norm: batchNorm,
  relu,
  leaky_relu: ({ self, negative_slope: slope }) => mapped(self, (x) => (x > 0 ? x : slope * x)),
  tanh: ({ self }) => mapped(self, Math.tanh),
  sigmoid: ({ self }) => mapped(self, (x) => 1 / (1 + Math.exp(-x))),
  silu: ({ self }) => mapped(self, (x) => x / (1 + Math.exp(-x))),
  clamp: ({ self, min, max }) =>
    mapped(self, (x) => Math.min(Math.max(x, min ?? -Infinity), max ?? Infinity)),
  add: elementwise((a, b) => a + b),
  sub: elementwise((a, b) => a - b),
  mul: elementwise((a, b) => a * b),
  div: elementwise((a, b) => a / b),
  embedding,
  cat,
  slice,
  flatten,
  unflatten,
  view: ({ self, size }) => reshape(self, size),
  reshape: ({ self, shape }) => reshape(self, shape),
  pad,
  pixel_shuffle: pixelShuffle,
  pixel_unshuffle: pixelUnshuffle,
  max_pool2d: maxPool2d,
  avg_pool2d: avgPool2d,
  upsample_bilinear2d: upsampleBilinear2d,
  upsample_nearest2d: upsampleNearest2d,
};
