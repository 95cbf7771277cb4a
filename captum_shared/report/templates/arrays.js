// Maps as arrays.py packs them.

/** Unpack arrays: by name {values, shape}, the values in their unit. */
async function unpacked(packed) {
  const bytes = Uint8Array.from(atob(packed.bytes), (sign) => sign.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const whole = new Uint8Array(await new Response(stream).arrayBuffer());
  const arrays = {};
  for (const [name, { shape, top, start }] of Object.entries(packed.arrays)) {
    const size = shape.reduce((product, side) => product * side, 1);
    const levels = summed(whole.slice(start, start + size), shape.at(-2), shape.at(-1));
    arrays[name] = { values: Float32Array.from(levels, (level) => top * (level / 255) ** 2), shape };
  }
  return arrays;
}

/** Undo differences along the last two axes, modulo 256, in place. */
function summed(levels, rows, columns) {
  const size = rows * columns;
  for (let first = 0; first < levels.length; first += size) {
    for (let at = first + columns; at < first + size; at++) levels[at] += levels[at - columns];
    for (let at = first; at < first + size; at++) if ((at - first) % columns) levels[at] += levels[at - 1];
  }
  return levels;
}
