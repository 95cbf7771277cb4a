// What every part of a page uses.

/** The data that was written with the page under an identifier; null if there is none. */
function dataOf(identifier) {
  const element = document.getElementById(`${identifier}-data`);
  return element === null ? null : JSON.parse(element.textContent);
}

/** Make an element: attributes by name (functions listen, as in {click: ...}), children as nodes or texts. */
function make(tag, attributes = {}, ...children) {
  const spaced = ["svg", "g", "path", "line", "circle", "rect", "text", "title"].includes(tag);
  const element = spaced ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Write a number with three digits that count, and a minus that is one. */
function told(value) {
  if (value === null || Number.isNaN(value)) return "–";
  const text = value === 0 ? "0" : Math.abs(value) >= 0.001 && Math.abs(value) < 1e5
    ? String(Number(value.toPrecision(3))) : value.toExponential(1);
  return text.replace("-", "−");
}
