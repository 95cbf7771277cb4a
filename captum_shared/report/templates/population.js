// The table of all neurons and the charts of them: what is pointed at, chosen or filtered in one shows in the other.

(function () {
  const data = dataOf("population-data");
  const table = document.getElementById("population-table");
  if (data === null || table === null) return;
  const form = document.getElementById("filters");
  const rows = new Map([...table.tBodies[0].rows].map((row) => [Number(row.dataset.row), row]));
  const column = new Map(data.measures.map((measure, index) => [measure.name, index]));
  const texts = { name: 0, region: 1, subject: 2, state: 3 };
  const value = (neuron, name) =>
    name in texts ? data.neurons[neuron][texts[name]] : data.values[neuron][column.get(name)];
  const everyone = data.neurons.map((_, neuron) => neuron);
  let brushed = null;
  let shown = new Set(everyone);

  sortable(table, (row, name) => value(Number(row.dataset.row), name));

  // Filters: every control narrows what is shown.

  function passes(neuron) {
    const text = form.elements.name.value.trim().toLowerCase();
    if (!value(neuron, "name").toLowerCase().includes(text)) return false;
    for (const name of ["region", "subject", "state"]) {
      const select = form.elements[name];
      if (select && select.value !== "all" && value(neuron, name) !== options[name][Number(select.value)]) return false;
    }
    return data.measures.every(({ name }) => {
      const ends = [`${name}-low`, `${name}-high`].map((end) => form.elements[end] && form.elements[end].value);
      const own = value(neuron, name);
      if (!ends[0] && !ends[1]) return true;
      return own !== null && (!ends[0] || own >= Number(ends[0])) && (!ends[1] || own <= Number(ends[1]));
    });
  }

  const distinct = (name) => [...new Set(everyone.map((neuron) => value(neuron, name)))];
  const options = { region: distinct("region"), subject: distinct("subject"), state: data.states };

  let waiting = 0;
  function update() {
    shown = new Set(everyone.filter((neuron) => (brushed === null || brushed.has(neuron)) && passes(neuron)));
    rows.forEach((row, neuron) => { row.hidden = !shown.has(neuron); });
    const chosen = brushed === null ? "" : `, of ${brushed.size} chosen in a chart`;
    document.getElementById("shown").textContent = `${shown.size} of ${everyone.length} neurons${chosen}`;
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => charts.forEach((chart) => chart.select()));
  }
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => { brushed = null; setTimeout(update); });

  // Charts: each has its points, and the neuron of each point.

  const charts = [];
  const point = (x, y) => everyone.map((neuron) => ({ neuron, x: value(neuron, x), y: value(neuron, y), note: "" }));
  const bounded = data.values.some((own) => own[column.get("ceiling")] !== null) ? "ceiling" : "reliability";
  if (bounded === "reliability") document.getElementById("bound").textContent = "reliability of the responses";
  const title = (name) => data.measures[column.get(name)].title;

  function addChart(identifier, points, axes, decorate) {
    const element = document.getElementById(identifier);
    const known = points.filter(({ x, y }) => x !== null && y !== null);
    if (known.length === 0) { element.parentElement.hidden = true; return; }
    const region = (neuron) => data.neurons[neuron][5] % regionColours.length;
    const out = (neuron) => value(neuron, "state") !== "explained";
    const chart = { element, points: known, select, light };

    function traces() {
      const symbols = known.map(({ neuron }) => regionSymbols[region(neuron)] + (out(neuron) ? "-open" : ""));
      const colours = known.map(({ neuron }) => colour(regionColours[region(neuron)]));
      return [{
        type: "scatter", mode: "markers", x: known.map(({ x }) => x), y: known.map(({ y }) => y),
        text: known.map(({ neuron, note }) => told_of(neuron) + note), hovertemplate: "%{text}<extra></extra>",
        marker: { symbol: symbols, color: colours, size: known.length > 300 ? 6 : 8, opacity: 0.85 },
        selectedpoints: selected(), selected: { marker: { opacity: 0.9 } }, unselected: { marker: { opacity: 0.1 } },
      }, {
        type: "scatter", mode: "markers", x: [], y: [], hoverinfo: "skip",
        marker: { symbol: "circle-open", color: colour("ink"), size: 15, line: { width: 2 } },
      }];
    }

    function selected() {
      return shown.size === everyone.length ? null : known.flatMap(({ neuron }, index) => (shown.has(neuron) ? [index] : []));
    }

    function select() {
      if (!chart.drawn) return;
      window.Plotly.restyle(element, { selectedpoints: [selected()] }, [0]);
      const boxes = element.layout.selections || [];
      if (boxes.length === 0 || (brushed !== null && chart.brushing)) return;
      chart.clearing = true; // plotly.js tells of it as if somebody had chosen nothing
      window.Plotly.relayout(element, { selections: [] }).finally(() => { chart.clearing = false; });
    }

    function light(neuron) {
      if (!chart.drawn) return;
      const own = known.filter((each) => each.neuron === neuron);
      window.Plotly.restyle(element, { x: [own.map(({ x }) => x)], y: [own.map(({ y }) => y)] }, [1]);
    }

    chart.draw = async (Plotly) => {
      const layout = chartLayout(axes[0], axes[1]);
      layout.shapes = decorate ? decorate(known) : [];
      await Plotly.react(element, traces(), layout, chartSettings);
      if (chart.drawn) return;
      chart.drawn = true;
      element.on("plotly_hover", (event) => pointAt(neuronOf(event)));
      element.on("plotly_unhover", () => pointAt(null));
      element.on("plotly_click", (event) => open(neuronOf(event)));
      element.on("plotly_selected", (event) => brush(chart, event));
      element.on("plotly_deselect", () => brush(chart, null));
      element.on("plotly_doubleclick", () => brush(chart, null));
    };
    const neuronOf = (event) => known[event.points.find((each) => each.curveNumber === 0).pointNumber].neuron;
    charts.push(chart);
  }

  function told_of(neuron) {
    const where = [value(neuron, "region"), value(neuron, "subject")].filter(Boolean).join(", ");
    const r = `r = ${told(value(neuron, "heldout"))}`;
    return [`<b>${literal(value(neuron, "name"))}</b>`, literal(where), `${r}, ${value(neuron, "state")}`].filter(Boolean).join("<br>");
  }

  function brush(chart, event) {
    if (chart.clearing) return;
    if (!event || !event.points) {
      if (brushed === null) return;
      brushed = null;
    } else {
      brushed = new Set(event.points.filter((each) => each.curveNumber === 0).map((each) => chart.points[each.pointNumber].neuron));
    }
    charts.forEach((each) => { each.brushing = each === chart; });
    update();
  }

  let pointed = null;
  function pointAt(neuron) {
    if (neuron === pointed) return;
    if (pointed !== null) rows.get(pointed).classList.remove("lit");
    pointed = neuron;
    if (neuron !== null) rows.get(neuron).classList.add("lit");
    charts.forEach((chart) => chart.light(neuron));
  }

  function open(neuron) {
    const address = data.neurons[neuron][4];
    const section = document.getElementById(address);
    if (section instanceof HTMLDetailsElement) section.open = true;
    location.hash = address;
  }

  for (const [begin, end] of [["mouseover", "mouseleave"], ["focusin", "focusout"]]) {
    table.tBodies[0].addEventListener(begin, (event) => {
      const row = event.target.closest("tr");
      if (row) pointAt(Number(row.dataset.row));
    });
    table.tBodies[0].addEventListener(end, () => pointAt(null));
  }
  table.tBodies[0].addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (link) open(Number(link.closest("tr").dataset.row));
  });

  const dashed = () => ({ color: colour("grey"), width: 1.2, dash: "dash" });
  function diagonal(points) {
    const ends = points.flatMap(({ x, y }) => [x, y]);
    const [low, high] = [Math.min(...ends), Math.max(...ends)];
    return [{ type: "line", layer: "below", x0: low, y0: low, x1: high, y1: high, line: dashed() }];
  }
  function chance() {
    const [low, high] = data.interval;
    const band = { type: "rect", layer: "below", xref: "paper", x0: 0, x1: 1, y0: low, y1: high, line: { width: 0 } };
    return low === null ? [] : [{ ...band, fillcolor: colour("grey"), opacity: 0.2 }];
  }

  addChart("chart-encoding", point(bounded, "heldout"), [title(bounded), title("heldout")], (points) => [...chance(), ...diagonal(points)]);
  addChart("chart-responses", point("others", "preferred"), [title("others"), title("preferred")], diagonal);
  const pairs = data.pairs.map(([neuron, x, y, image, reference]) => ({ neuron, x, y, note: `<br>${literal(image)} – ${literal(reference)}` }));
  addChart("chart-pairs", pairs, [title("similarity"), title("agreement")]);
  addChart("chart-selectivity", point("selectivity", "heldout"), [title("selectivity"), title("heldout")], chance);

  async function drawAll() {
    const Plotly = await plotly();
    for (const chart of charts) await chart.draw(Plotly);
    document.getElementById("charts").dataset.drawn = "yes";
  }
  if (charts.length > 0 && "DecompressionStream" in window) {
    document.getElementById("charts").hidden = false;
    setTimeout(() => { drawAll(); onColourScheme(drawAll); }, 50);
  }
})();
