// Fields: maps with rows and columns, {values, rows, columns}. No function changes the field it is given.

/** One map of an array of maps. */
function fieldOf(array, index = 0) {
  const [rows, columns] = array.shape.slice(-2);
  return { values: array.values.subarray(index * rows * columns, (index + 1) * rows * columns), rows, columns };
}

function mapped(field, change) {
  return { ...field, values: field.values.map(change) };
}

function largest(field) {
  return field.values.reduce((top, value) => Math.max(top, value), 0);
}

/** Bring a field to another size, bilinearly between the middles of its cells. */
function resized(field, rows, columns) {
  const values = new Float32Array(rows * columns);
  const down = axis(rows, field.rows), across = axis(columns, field.columns);
  for (let row = 0; row < rows; row++) {
    const [above, below, v] = down[row];
    for (let column = 0; column < columns; column++) {
      const [left, right, u] = across[column];
      const at = (y, x) => field.values[y * field.columns + x];
      values[row * columns + column] =
        (1 - v) * ((1 - u) * at(above, left) + u * at(above, right)) + v * ((1 - u) * at(below, left) + u * at(below, right));
    }
  }
  return { values, rows, columns };
}

/** For every new cell the two old ones that it lies between, and how near to the second. */
function axis(fresh, old) {
  return Array.from({ length: fresh }, (_, index) => {
    const position = Math.min(Math.max(((index + 0.5) * old) / fresh - 0.5, 0), old - 1);
    const first = Math.floor(position);
    return [first, Math.min(first + 1, old - 1), position - first];
  });
}

/** Blur a field about as a Gaussian of a standard deviation in cells does. */
function blurred(field, sigma) {
  let values = field.values;
  for (let pass = 0; pass < Math.round(2 * sigma ** 2); pass++) {
    values = smoothedOnce(smoothedOnce(values, field.columns, 1), field.rows, field.columns);
  }
  return { ...field, values };
}

/** One pass of (1, 2, 1) / 4 along lines of a length, whose cells are a stride apart. */
function smoothedOnce(values, length, stride) {
  return values.map((value, at) => {
    const index = Math.floor(at / stride) % length;
    const before = index > 0 ? values[at - stride] : value;
    const after = index < length - 1 ? values[at + stride] : value;
    return (before + 2 * value + after) / 4;
  });
}

/** The line where a field crosses a level, as a path in units of the width and height given. */
function contour(field, level, width, height) {
  const { rows, columns, values } = field;
  const path = new Path2D();
  const at = (row, column) =>
    row < 0 || column < 0 || row >= rows || column >= columns ? -Infinity : values[row * columns + column] - level;
  const point = (row, column) => [((column + 0.5) * width) / columns, ((row + 0.5) * height) / rows];
  const between = (row, column, nextRow, nextColumn) => {
    const first = at(row, column), second = at(nextRow, nextColumn);
    const share = Number.isFinite(first) && Number.isFinite(second) ? first / (first - second) : 0.5;
    return point(row + share * (nextRow - row), column + share * (nextColumn - column));
  };
  for (let row = -1; row < rows; row++) {
    for (let column = -1; column < columns; column++) {
      const corners = [[row, column], [row, column + 1], [row + 1, column + 1], [row + 1, column]];
      const crossings = corners
        .map((corner, index) => [corner, corners[(index + 1) % 4]])
        .filter(([first, second]) => at(...first) >= 0 !== at(...second) >= 0)
        .map(([first, second]) => between(...first, ...second));
      for (let index = 0; index + 1 < crossings.length; index += 2) {
        path.moveTo(...crossings[index]);
        path.lineTo(...crossings[index + 1]);
      }
    }
  }
  return path;
}
