// A pair: its two canvases, what is drawn on them, and the controls beside them.

const LONG_SIDE = 480; // pixels of a canvas
const OTHER = [1, 0];

/** Show a pair in its section. */
async function showPair(section, pictures, looks) {
  const data = dataOf(section.id);
  const [arrays, ...images] = await Promise.all([unpacked(data.packed), ...data.pictures.map((key) => decoded(pictures[key]))]);
  const pair = {
    section, data, arrays, images, looks,
    canvases: [...section.querySelectorAll("canvas[data-side]")],
    settings: settingsOf(section),
    point: null, // {side, x, y, kept}: x and y as shares of width and height
  };
  pair.canvases.forEach((canvas, side) => {
    const { naturalWidth, naturalHeight } = images[side], scale = LONG_SIDE / Math.max(naturalWidth, naturalHeight);
    canvas.width = Math.round(naturalWidth * scale);
    canvas.height = Math.round(naturalHeight * scale);
    listenToPointer(pair, canvas, side);
    listenToKeys(pair, canvas, side);
  });
  drawBar(section.querySelector(".bar canvas"), looks.colours);
  listenToControls(pair);
  draw(pair);
  return pair;
}

async function decoded(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  return image;
}

function settingsOf(section) {
  const control = (name) => section.querySelector(`[data-control="${name}"]`);
  const chosen = section.querySelector('[data-control="method"]:checked');
  return {
    method: chosen ? Number(chosen.value) : 0,
    opacity: Number(control("opacity").value) / 100,
    threshold: Number(control("threshold").value) / 100,
    components: control("components")?.checked ?? false,
    significant: control("significant")?.checked ?? false,
  };
}

/** Draw everything anew. */
function draw(pair) {
  const match = pair.point && matchOf(pair, pair.point);
  pair.canvases.forEach((canvas, side) => {
    const context = canvas.getContext("2d");
    if (match) drawMatch(pair, context, side, match);
    else drawSide(pair, context, side);
    canvas.setAttribute("aria-label", pair.data.methods[pair.settings.method].labels[side]);
  });
  writeScale(pair, match);
  writeTold(pair, match);
  writeSettings(pair);
}

/** A side under its map, or in the colours of its components. */
function drawSide(pair, context, side) {
  const { settings, looks, arrays } = pair;
  const paint = { ...looks, opacity: settings.opacity, threshold: settings.threshold };
  drawPale(context, pair.images[side], Math.min(1, settings.opacity / looks.opacity));
  if (settings.components) drawComponents(context, partsOf(pair, side), paint);
  else drawMap(context, sharesOf(pair, side), paint);
  const outlined = settings.significant && arrays[`significant/${side}`];
  if (outlined) drawLine(context, blurred(fieldOf(outlined), 1.5), 0.5, [["#000000", 6], ["#00e5ff", 3]]);
}

/** A map as shares of its scale. */
function sharesOf(pair, side) {
  const { top, power } = pair.data.methods[pair.settings.method];
  return mapped(fieldOf(pair.arrays[`maps/${pair.settings.method}/${side}`]), (value) => Math.min(1, value / top) ** power);
}

/** Densities of the components: a map of pixels shared out among them, or else their maps at the layer. */
function partsOf(pair, side) {
  const { components } = pair.arrays, [count, , rows, columns] = components.shape;
  const whole = pair.data.shared_out === null ? null : fieldOf(pair.arrays[`maps/${pair.data.shared_out}/${side}`]);
  const [height, width] = whole ? [whole.rows, whole.columns] : [8 * rows, 8 * columns];
  const parts = Array.from({ length: count }, (_, index) =>
    resized(mapped(fieldOf(components, 2 * index + side), (value) => (value * rows * columns) / 100), height, width));
  if (!whole) return parts;
  const least = 1e-7 * Math.max(...parts.map(largest));
  const raised = parts.map((part) => mapped(part, (value) => value + least));
  const total = whole.values.map((_, at) => raised.reduce((sum, part) => sum + part.values[at], 0));
  return raised.map((part) => ({
    ...part, values: part.values.map((value, at) => (total[at] > 0 ? (whole.values[at] * value) / total[at] : 0)),
  }));
}

/** What a point matches in the other picture: a field, and how much is found, as a share of what of the best point is. */
function matchOf({ arrays }, { side, x, y }) {
  const { values, shape } = arrays.correspondence;
  const grids = [[shape[0], shape[1]], [shape[2], shape[3]]], sizes = grids.map(([rows, columns]) => rows * columns);
  const [rows, columns] = grids[side], other = grids[OTHER[side]];
  const index = Math.floor(y * rows) * columns + Math.floor(x * columns);
  const entry = (own, others) => (side === 0 ? values[own * sizes[1] + others] : values[others * sizes[1] + own]);
  const sums = Array.from({ length: sizes[side] }, (_, own) => {
    let sum = 0;
    for (let others = 0; others < sizes[OTHER[side]]; others++) sum += entry(own, others);
    return sum;
  });
  const best = Math.max(...sums);
  const field = {
    values: Float32Array.from({ length: sizes[OTHER[side]] }, (_, others) => entry(index, others)),
    rows: other[0], columns: other[1],
  };
  return { side, field, grid: grids[side], strength: best > 0 ? sums[index] / best : 0 };
}

/** The picture pointed at with the point, the other one under what the point matches. */
function drawMatch(pair, context, side, match) {
  if (side === match.side) {
    drawPale(context, pair.images[side], 0);
    drawPoint(context, [pair.point.x, pair.point.y], match.grid);
    return;
  }
  drawPale(context, pair.images[side], 1);
  const map = pair.arrays[`maps/0/${side}`].shape;
  const field = resized(match.field, map[0], map[1]), top = largest(field);
  if (top === 0 || match.strength === 0) return;
  const shares = mapped(field, (value) => (value / top) * match.strength);
  drawMap(context, shares, { ...pair.looks, threshold: 0 });
}

function drawBar(canvas, colours) {
  canvas.getContext("2d").drawImage(painted({ rows: 1, columns: 256 }, (at) => [...colours[at], 1]), 0, 0);
}

function writeScale(pair, match) {
  const method = pair.data.methods[pair.settings.method];
  pair.section.querySelector(".bar").hidden = !match && pair.settings.components;
  const ticks = match ? [[0, "0"], [0.5, "50 %"], [1, "100 %"]] : method.ticks;
  const list = pair.section.querySelector(".bar ol");
  list.replaceChildren(...ticks.map(([position, label]) => {
    const item = make("li", {}, label);
    item.style.left = `${100 * position}%`;
    return item;
  }));
  pair.section.querySelector(".unit").textContent = match
    ? "match, as a share of what is found of the best point"
    : pair.settings.components
      ? "each component in its colour, the more opaque the more is shared; lines at half of its maximum"
      : `${method.unit}; one scale for both pictures, line at half of its colours`;
}

function writeTold(pair, match) {
  const element = pair.section.querySelector(".told");
  const method = pair.data.methods[pair.settings.method];
  const told = match
    ? match.strength > 0
      ? `In the ${["reference", "image"][match.side]} found ${Math.round(100 * match.strength)} % as well as the best point.`
      : `Not found in the ${["reference", "image"][match.side]}.`
    : `${method.title}: ${method.told}.`;
  if (element.textContent !== told) element.textContent = told;
}

/** The numbers beside the sliders; the threshold in the unit of the maps. */
function writeSettings(pair) {
  const { settings, section, data } = pair, { top, power } = data.methods[settings.method];
  section.querySelector('[data-for="opacity"]').textContent = `${Math.round(100 * settings.opacity)} %`;
  const least = top * settings.threshold ** (1 / power);
  section.querySelector('[data-for="threshold"]').textContent = settings.threshold ? `from ${told(least)}` : "none";
}
