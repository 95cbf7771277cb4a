// Charts by plotly.js, which comes with the page, compressed, and is unpacked once something is to be drawn.

let chartLibrary = null;

/** plotly.js, when it is ready. */
function plotly() {
  chartLibrary = chartLibrary || unpack("library-plotly").then(() => window.Plotly);
  return chartLibrary;
}

/** Run the source that an element holds; the page's policy allows it by its digest. */
async function unpack(identifier) {
  const bytes = Uint8Array.from(atob(document.getElementById(identifier).textContent), (sign) => sign.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const source = await new Response(stream).text();
  document.head.append(make("script", {}, source));
}

/** A colour of the page's style sheet, as it is now, light or dark. */
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

const regionColours = ["blue", "vermillion", "green", "orange", "sky", "black"];
const regionSymbols = ["circle", "diamond", "square", "triangle-up", "cross", "triangle-down"];

/** A text as plotly.js draws it literally, tags and all; the middle of a long one is left out. */
function literal(text) {
  const short = text.length > 60 ? `${text.slice(0, 40)}…${text.slice(-19)}` : text;
  return short.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

/** What all charts have in common. */
function chartLayout(x, y) {
  const axis = (title) => ({
    title: { text: title, standoff: 8 }, gridcolor: colour("line"), zerolinecolor: colour("strong-line"),
    linecolor: colour("strong-line"), ticks: "outside", tickcolor: colour("strong-line"), automargin: true, zeroline: false,
  });
  return {
    xaxis: axis(x), yaxis: axis(y), showlegend: false, margin: { l: 48, r: 10, t: 8, b: 44 },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("ink") },
    hoverlabel: { bgcolor: colour("raised"), bordercolor: colour("strong-line"), font: { color: colour("ink") } },
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "select", selectdirection: "any",
    newselection: { line: { color: colour("accent"), width: 1.5 } },
  };
}

const chartSettings = { displayModeBar: false, responsive: true, doubleClick: false };

/** Draw again when the page turns light or dark. */
function onColourScheme(draw) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}
