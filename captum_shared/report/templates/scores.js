// The table of a benchmark's scores, and a chart of one of them: every method with its interval.

(function () {
  const data = dataOf("scores-data");
  const table = document.getElementById("scores-table");
  if (data === null || table === null) return;
  const columns = new Map(data.columns.map((column) => [column.name, column]));
  const own = { name: 0, family: 1, seconds: 2 };
  sortable(table, (row, name) => {
    const method = Number(row.dataset.row);
    return name in own ? data.methods[method][own[name]] : columns.get(name).values[method][0];
  });

  const families = [...new Set(data.methods.map(([, family]) => family))];
  const select = document.getElementById("forest-score");
  const element = document.getElementById("forest-chart");

  async function draw() {
    const Plotly = await plotly();
    const column = data.columns[Number(select.value)];
    const known = data.methods.map((method, index) => [...method, ...column.values[index]]).filter((each) => each[3] !== null);
    const style = (list) => known.map(([, family]) => list[families.indexOf(family) % list.length]);
    const layout = chartLayout(column.title, "");
    layout.dragmode = false;
    layout.height = 90 + 21 * known.length;
    layout.yaxis = {
      ...layout.yaxis, autorange: false, range: [known.length - 0.4, -0.6], tickvals: known.map((_, row) => row), ticks: "", fixedrange: true,
      ticktext: known.map(([name]) => literal(name.length > 34 ? `${name.slice(0, 22)}…${name.slice(-11)}` : name)),
    };
    layout.xaxis.fixedrange = true;
    const line = { type: "line", layer: "below", x0: column.chance, x1: column.chance, yref: "paper", y0: 0, y1: 1 };
    layout.shapes = column.chance === null ? [] : [{ ...line, line: { color: colour("grey"), width: 1.5, dash: "dot" } }];
    const colours = style(regionColours.map(colour));
    const interval = { type: "data", symmetric: false, thickness: 1.5, width: 0, color: colour("muted") };
    await Plotly.react(element, [{
      type: "scatter", mode: "markers", x: known.map((each) => each[3]), y: known.map((_, row) => row),
      error_x: { ...interval, array: known.map((each) => each[5] - each[3]), arrayminus: known.map((each) => each[3] - each[4]) },
      text: known.map(([name, family, , ...numbers]) => `<b>${literal(name)}</b><br>${literal(family)}<br>${told(numbers[0])} (${told(numbers[1])} to ${told(numbers[2])})`),
      hovertemplate: "%{text}<extra></extra>", marker: { symbol: style(regionSymbols), color: colours, size: 8 },
    }], layout, chartSettings);
    document.getElementById("forest").dataset.drawn = "yes";
  }

  if ("DecompressionStream" in window && data.columns.length > 0) {
    document.getElementById("forest").hidden = false;
    select.addEventListener("input", draw);
    setTimeout(() => { draw(); onColourScheme(draw); }, 50);
  }
})();
