// Pictures under maps, as the figures draw them. Nothing is read back from a canvas, which some browsers forbid.

/** A canvas of its own size. */
function sheet(width, height) {
  return make("canvas", { width, height });
}

/** Draw a picture, pale and grey by a share between 0 (as it is) and 1 (as beneath maps). */
function drawPale(context, picture, share) {
  const { width, height } = context.canvas;
  context.save();
  context.clearRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, width, height);
  context.globalAlpha = share;
  context.globalCompositeOperation = "saturation";
  context.fillStyle = "#808080";
  context.fillRect(0, 0, width, height);
  context.globalCompositeOperation = "source-over";
  context.globalAlpha = 0.35 * share;
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, width, height);
  context.restore();
}

/** A small canvas with a colour and an opacity for every cell. */
function painted({ rows, columns }, colourAt) {
  const small = sheet(columns, rows), context = small.getContext("2d");
  const pixels = context.createImageData(columns, rows);
  for (let at = 0; at < rows * columns; at++) {
    const [red, green, blue, opacity] = colourAt(at);
    pixels.data.set([red, green, blue, Math.round(255 * opacity)], 4 * at);
  }
  context.putImageData(pixels, 0, 0);
  return small;
}

/** Draw a map whose values are shares of its scale: colour grows with it, opacity up to half of the scale. */
function drawMap(context, shares, { colours, opacity, threshold }) {
  const { width, height } = context.canvas;
  const small = painted(shares, (at) => {
    const share = shares.values[at];
    const shown = share >= threshold && share > 0 ? opacity * Math.min(1, 2 * share) : 0;
    return [...colours[Math.min(255, Math.floor(256 * share))], shown];
  });
  context.drawImage(small, 0, 0, width, height);
  if (opacity > 0) drawLine(context, blurred(shares, 0.01 * Math.max(shares.rows, shares.columns)), 0.5, [["#ffffff", 1.4]]);
}

/** Draw a line where a field crosses a level, in strokes of colours and widths; none around all of it. */
function drawLine(context, field, level, strokes) {
  if (!field.values.some((value) => value < level)) return;
  const { width, height } = context.canvas;
  const path = contour(field, level, width, height);
  context.save();
  context.lineCap = context.lineJoin = "round";
  for (const [colour, thickness] of strokes) {
    context.strokeStyle = colour;
    context.lineWidth = (thickness * Math.max(width, height)) / 480;
    context.stroke(path);
  }
  context.restore();
}

/** Tint a picture in the colours of its components, fields of densities, most opaque at the end of the scale. */
function drawComponents(context, parts, { components, absolute, opacity, threshold, smoothing }) {
  if (!parts.length) return;
  const { width, height } = context.canvas;
  const colours = parts.map((_, index) => rgb(components[index % components.length]));
  const total = parts[0].values.map((_, at) => parts.reduce((sum, part) => sum + part.values[at], 0));
  const mixture = (at) => [0, 1, 2].map((channel) =>
    parts.reduce((sum, part, index) => sum + (part.values[at] / total[at]) * colours[index][channel], 0));
  const opacityAt = (at) => {
    const share = Math.min(1, total[at] / absolute.top) ** absolute.power;
    return share >= threshold ? opacity * share : 0;
  };
  const tint = painted(parts[0], (at) => [...(total[at] > 0 ? mixture(at) : [255, 255, 255]), 1]);
  const mask = painted(parts[0], (at) => [0, 0, 0, opacityAt(at)]);
  const layer = sheet(width, height), above = layer.getContext("2d");
  above.drawImage(context.canvas, 0, 0);
  above.fillStyle = "rgba(255, 255, 255, 0.45)";
  above.fillRect(0, 0, width, height);
  above.globalCompositeOperation = "multiply";
  above.drawImage(tint, 0, 0, width, height);
  above.globalCompositeOperation = "destination-in";
  above.drawImage(mask, 0, 0, width, height);
  context.drawImage(layer, 0, 0);
  if (opacity === 0) return;
  const smooth = parts.map((part) => blurred(part, smoothing * Math.max(part.rows, part.columns)));
  const sum = smooth[0].values.map((_, at) => smooth.reduce((whole, part) => whole + part.values[at], 0));
  smooth.forEach((part, index) => drawMark(context, part, sum, components[index % components.length], index + 1));
}

/** A line around a component at half of its maximum, and its number where it is strong and others are not. */
function drawMark(context, part, sum, colour, number) {
  const top = largest(part);
  if (top === 0) return;
  const { width, height } = context.canvas;
  drawLine(context, part, top / 2, [["#ffffff", 5], [colour, 2.6]]);
  const own = part.values.map((value, at) => (value >= top / 2 ? value ** 2 / sum[at] : 0));
  const peak = own.indexOf(own.reduce((most, value) => Math.max(most, value), 0));
  const inside = (share) => Math.min(Math.max(share, 0.05), 0.95);
  const x = inside(((peak % part.columns) + 0.5) / part.columns) * width;
  const y = inside((Math.floor(peak / part.columns) + 0.5) / part.rows) * height;
  const size = Math.max(width, height) / 18;
  context.save();
  context.font = `bold ${size}px sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineWidth = size / 4;
  context.lineJoin = "round";
  context.strokeStyle = "#ffffff";
  context.strokeText(String(number), x, y);
  context.fillStyle = colour;
  context.fillText(String(number), x, y);
  context.restore();
}

/** A ring around a point, given as shares of width and height, and the cell of the grid that it lies in. */
function drawPoint(context, [x, y], [rows, columns]) {
  const { width, height } = context.canvas, unit = Math.max(width, height) / 480;
  const column = Math.floor(x * columns), row = Math.floor(y * rows);
  context.save();
  for (const [colour, thickness] of [["#ffffff", 5], ["#c24f00", 2.4]]) {
    context.strokeStyle = colour;
    context.lineWidth = thickness * unit;
    context.strokeRect((column * width) / columns, (row * height) / rows, width / columns, height / rows);
    context.beginPath();
    context.arc(x * width, y * height, 7 * unit, 0, 2 * Math.PI);
    context.stroke();
  }
  context.restore();
}

function rgb(colour) {
  return [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
}
