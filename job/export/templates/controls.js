"use strict";
// The page: a grid of images from a seed, one of them with sliders, and PNGs of both.

const NUM_IMAGES = 25, COLUMNS = 5;
const [HEIGHT, WIDTH, CHANNELS] = layers[layers.length - 1].shape;
const byId = (id) => document.getElementById(id);
const state = {latents: [], labels: [], chosen: 0, offsets: model.directions.map(() => 0), run: 0};

// Standard normal numbers of a seed: mulberry32, then Box and Muller's transform.
function normalNumbers(seed, num) {
  let a = seed >>> 0;
  const uniform = () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  return Float32Array.from({length: num}, normal);
}

function draw(canvas, pixels) {
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  const image = new ImageData(WIDTH, HEIGHT);
  for (let i = 0; i < HEIGHT * WIDTH; i++) {
    for (let c = 0; c < 3; c++) {
      image.data[4 * i + c] = (pixels[i * CHANNELS + Math.min(c, CHANNELS - 1)] + 1) * 127.5;
    }
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

const className = (label) => model.classes.length ? `, ${model.classes[label]}` : "";

function showChosen() {
  const latents = state.latents[state.chosen].slice();
  model.directions.forEach((direction, d) => {
    for (let i = 0; i < latents.length; i++) latents[i] += state.offsets[d] * direction[i];
  });
  draw(byId("large"), generate(latents, state.labels[state.chosen]));
  byId("large").setAttribute(
    "aria-label", `Image ${state.chosen + 1}${className(state.labels[state.chosen])}`);
}

function choose(index) {
  state.chosen = index;
  cells.forEach((cell, i) => cell.setAttribute("aria-pressed", i === index));
  reset();
}

function reset() {
  state.offsets.fill(0);
  sliders.forEach((slider) => { slider.value = 0; slider.oninput(); });
  showChosen();
}

// Image by image, so that the page stays usable; a newer seed or class ends it.
async function showGrid() {
  const run = ++state.run;
  const numbers = normalNumbers(Number(byId("seed").value), NUM_IMAGES * model.latentSize);
  const wanted = model.classes.length ? Number(byId("class").value) : 0;
  for (let i = 0; i < NUM_IMAGES; i++) {
    state.latents[i] = numbers.slice(i * model.latentSize, (i + 1) * model.latentSize);
    state.labels[i] = wanted < 0 ? i % model.classes.length : wanted;
  }
  choose(state.chosen);
  byId("save-grid").disabled = true;
  for (let i = 0; i < NUM_IMAGES; i++) {
    byId("progress").textContent = `Image ${i + 1} of ${NUM_IMAGES}`;
    await new Promise((resume) => setTimeout(resume));
    if (run !== state.run) return;
    draw(cells[i].firstChild, generate(state.latents[i], state.labels[i]));
    cells[i].setAttribute("aria-label", `Image ${i + 1}${className(state.labels[i])}`);
  }
  byId("progress").textContent = "";
  byId("save-grid").disabled = false;
}

// The mark for programs that the image is synthetic goes behind the PNG's first chunk.
async function save(canvas, name) {
  const png = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  const parts = [png.slice(0, 33), bytesOf(model.mark), png.slice(33)];
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(parts, {type: "image/png"}));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function saveGrid() {
  const sheet = document.createElement("canvas");
  sheet.width = COLUMNS * WIDTH;
  sheet.height = NUM_IMAGES / COLUMNS * HEIGHT;
  cells.forEach((cell, i) => sheet.getContext("2d").drawImage(
    cell.firstChild, i % COLUMNS * WIDTH, Math.floor(i / COLUMNS) * HEIGHT));
  return save(sheet, `grid-seed${byId("seed").value}.png`);
}

function addSlider(d) {
  const label = document.createElement("label"), value = document.createElement("output");
  const slider = Object.assign(document.createElement("input"),
    {type: "range", min: -4, max: 4, step: 0.1, value: 0});
  slider.oninput = () => {
    state.offsets[d] = Number(slider.value);
    value.textContent = state.offsets[d].toFixed(1);
  };
  slider.addEventListener("input", showChosen);
  label.append(`Direction ${d + 1}`, slider, value);
  byId("sliders").append(label);
  return slider;
}

const cells = Array.from({length: NUM_IMAGES}, (_, i) => {
  const cell = Object.assign(document.createElement("button"), {type: "button"});
  cell.append(Object.assign(document.createElement("canvas"), {width: WIDTH, height: HEIGHT}));
  cell.addEventListener("click", () => choose(i));
  byId("grid").append(cell);
  return cell;
});
const sliders = model.directions.map((_, d) => addSlider(d));
if (model.classes.length) {
  byId("class").append(new Option("all in turn", -1),
    ...model.classes.map((name, label) => new Option(name, label)));
  byId("class").addEventListener("change", showGrid);
}
byId("seed").addEventListener("change", showGrid);
byId("next").addEventListener("click", () => {
  byId("seed").value = Number(byId("seed").value) + 1;
  showGrid();
});
byId("reset").addEventListener("click", reset);
byId("save-grid").addEventListener("click", saveGrid);
byId("save-image").addEventListener("click", () => save(
  byId("large"), `image-seed${byId("seed").value}-${state.chosen + 1}.png`));
showGrid();
