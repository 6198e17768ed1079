"use strict";
// The generator: latents and a class to an image, as Keras computes it, in float32.
// An image is one row of numbers, [height, width, channels].

const model = JSON.parse(document.getElementById("model").textContent);

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

const layers = (() => {
  const numbers = new Float32Array(
    bytesOf(document.getElementById("weights").textContent).buffer);
  let start = 0;
  const take = (size) => numbers.subarray(start, start += size);
  return model.layers.map((layer) => ({...layer, arrays: layer.sizes.map(take)}));
})();

// Each takes the row x, the layer, the shape of x and the label.
const kinds = {
  class(x, {arrays: [table], shape: [length]}, shape, label) {
    const joined = new Float32Array(length);
    const size = length - x.length;
    joined.set(x);
    joined.set(table.subarray(label * size, (label + 1) * size), x.length);
    return joined;
  },
  dense(x, {arrays: [kernel, bias]}) {
    const out = bias.slice();
    const num = out.length;
    for (let i = 0; i < x.length; i++) {
      const value = x[i];
      for (let j = 0; j < num; j++) out[j] += value * kernel[i * num + j];
    }
    return out;
  },
  scale(x, {arrays: [scale, shift]}) {
    const channels = scale.length;
    return x.map((value, i) => value * scale[i % channels] + shift[i % channels]);
  },
  reshape: (x) => x,
  relu: (x) => x.map((value) => Math.max(value, 0)),
  leaky_relu: (x, {arrays: [[slope]]}) => x.map((value) => value < 0 ? slope * value : value),
  selu: (x) => x.map((value) =>
    1.0507009873554805 * (value > 0 ? value : 1.6732632423543772 * Math.expm1(value))),
  tanh: (x) => x.map(Math.tanh),
  // Stride 2, padding "same": input pixel y adds to the rows 2y - before + k. Kernel [K, K, out, in].
  transposed(x, {arrays: [kernel, bias], shape: [outHeight, outWidth]}, [height, width, num]) {
    const channels = bias.length;
    const side = Math.round(Math.sqrt(kernel.length / num / channels));
    const before = (side - 2) >> 1;
    const out = filled(bias, outHeight * outWidth);
    forEachTap(height, width, side, (y, x0, ky, kx) => {
      const row = 2 * y - before + ky, column = 2 * x0 - before + kx;
      if (row < 0 || row >= outHeight || column < 0 || column >= outWidth) return;
      const from = (y * width + x0) * num, to = (row * outWidth + column) * channels;
      for (let c = 0; c < channels; c++) {
        const weights = ((ky * side + kx) * channels + c) * num;
        let sum = 0;
        for (let i = 0; i < num; i++) sum += x[from + i] * kernel[weights + i];
        out[to + c] += sum;
      }
    });
    return out;
  },
  // Stride 1, padding "same". Kernel [K, K, in, out].
  convolution(x, {arrays: [kernel, bias]}, [height, width, num]) {
    const channels = bias.length;
    const side = Math.round(Math.sqrt(kernel.length / num / channels));
    const before = (side - 1) >> 1;
    const out = filled(bias, height * width);
    forEachTap(height, width, side, (y, x0, ky, kx) => {
      const row = y - before + ky, column = x0 - before + kx;
      if (row < 0 || row >= height || column < 0 || column >= width) return;
      const from = (row * width + column) * num, to = (y * width + x0) * channels;
      for (let i = 0; i < num; i++) {
        const value = x[from + i], weights = ((ky * side + kx) * num + i) * channels;
        for (let c = 0; c < channels; c++) out[to + c] += value * kernel[weights + c];
      }
    });
    return out;
  },
  // [H, W, 2, 2, C] to [2H, 2W, C].
  subpixel(x, {shape: [outHeight, outWidth, channels]}) {
    const out = new Float32Array(x.length);
    for (let y = 0; y < outHeight; y++) {
      for (let column = 0; column < outWidth; column++) {
        const pixel = (y >> 1) * (outWidth >> 1) + (column >> 1);
        const from = (4 * pixel + 2 * (y & 1) + (column & 1)) * channels;
        out.set(x.subarray(from, from + channels), (y * outWidth + column) * channels);
      }
    }
    return out;
  },
};

function filled(bias, times) {
  const out = new Float32Array(bias.length * times);
  for (let i = 0; i < times; i++) out.set(bias, i * bias.length);
  return out;
}

function forEachTap(height, width, side, add) {
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      for (let ky = 0; ky < side; ky++)
        for (let kx = 0; kx < side; kx++) add(y, x, ky, kx);
}

// The image of `latents` and of the class `label`, if there are classes: Float32Array, -1 to 1.
function generate(latents, label) {
  let x = Float32Array.from(latents), shape = null;
  for (const layer of layers) {
    x = kinds[layer.kind](x, layer, shape, label);
    shape = layer.shape;
  }
  return x;
}
