// What is listened to, and sections that are drawn when they are opened.

function listenToControls(pair) {
  const change = () => {
    pair.settings = settingsOf(pair.section);
    pair.point = null;
    draw(pair);
  };
  for (const control of pair.section.querySelectorAll("input[data-control]")) control.addEventListener("input", change);
  pair.section.querySelector('[data-control="reset"]').addEventListener("click", () => {
    for (const control of pair.section.querySelectorAll("input[data-control]")) {
      control.value = control.defaultValue;
      control.checked = control.defaultChecked;
    }
    change();
  });
}

/** Point by mouse, pen or finger; a click keeps the point until the next click. */
function listenToPointer(pair, canvas, side) {
  if (!pair.arrays.correspondence) return;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    const share = (at, start, length) => Math.min(Math.max((at - start) / length, 0), 0.999999);
    return { side, x: share(event.clientX, box.left, box.width), y: share(event.clientY, box.top, box.height) };
  };
  canvas.addEventListener("pointermove", (event) => {
    if (!pair.point?.kept) setPoint(pair, { ...place(event), kept: false });
  });
  canvas.addEventListener("pointerleave", (event) => {
    if (!pair.point?.kept && event.pointerType === "mouse") setPoint(pair, null);
  });
  canvas.addEventListener("click", (event) => {
    const again = pair.point?.kept && pair.point.side === side && event.pointerType === "mouse";
    setPoint(pair, again ? null : { ...place(event), kept: true });
  });
}

/** Point by keys: arrows move by a position of the grid, Enter keeps, Escape lets go. */
function listenToKeys(pair, canvas, side) {
  if (!pair.arrays.correspondence) return;
  const shape = pair.arrays.correspondence.shape, [rows, columns] = side === 0 ? shape.slice(0, 2) : shape.slice(2);
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    const middle = { side, x: (Math.floor(columns / 2) + 0.5) / columns, y: (Math.floor(rows / 2) + 0.5) / rows };
    const own = pair.point?.side === side ? pair.point : null;
    if (event.key === "Escape") setPoint(pair, null);
    else if (event.key === "Enter" || event.key === " ") setPoint(pair, { ...(own ?? middle), kept: true });
    else if (event.key in moves) {
      const [right, down] = own ? moves[event.key] : [0, 0];
      const step = (at, by, count) => (Math.min(Math.max(Math.floor(at * count) + by, 0), count - 1) + 0.5) / count;
      const from = own ?? middle;
      setPoint(pair, { side, x: step(from.x, right, columns), y: step(from.y, down, rows), kept: false });
    } else return;
    event.preventDefault();
  });
  canvas.addEventListener("blur", () => {
    if (!pair.point?.kept) setPoint(pair, null);
  });
}

function setPoint(pair, point) {
  if (point === null && pair.point === null) return;
  pair.point = point;
  draw(pair);
}

/** Draw what a section holds, once it is opened, and drop it when it is closed. */
async function fillSection(details) {
  const body = details.querySelector(":scope > .neuron-body");
  if (!details.open) {
    body?.remove();
    return;
  }
  if (body) return;
  details.append(details.querySelector(":scope > template").content.cloneNode(true));
  await showPairs(details);
}

/** Show all pairs within an element. */
async function showPairs(element) {
  const pictures = dataOf("pictures"), looks = dataOf("looks");
  for (const image of element.querySelectorAll("img[data-picture]")) image.src = pictures[Number(image.dataset.picture)];
  await Promise.all([...element.querySelectorAll("[data-pair]")].map((section) => showPair(section, pictures, looks)));
  element.dataset.drawn = "";
}

/** Open the neuron that an address points to. */
function openAddressed() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const details = target?.closest("details.neuron");
  if (!details) return;
  details.open = true;
  details.scrollIntoView({ block: "start" });
}

/** Close a neuron, and open the one so many after it. */
function step(details, by) {
  const all = [...document.querySelectorAll("details.neuron")];
  const next = all[all.indexOf(details) + by];
  if (!next) return;
  details.open = false;
  next.open = true;
  next.querySelector("summary").focus({ preventScroll: true });
  next.scrollIntoView({ block: "start" });
}

function listenToSections() {
  for (const details of document.querySelectorAll("details.neuron")) {
    details.addEventListener("toggle", () => {
      if (details.open) history.replaceState(null, "", `#${details.id}`);
      fillSection(details);
    });
    details.addEventListener("click", (event) => {
      const button = event.target.closest("[data-step]");
      if (button) step(details, Number(button.dataset.step));
    });
    details.addEventListener("keydown", (event) => {
      const by = { n: 1, p: -1 }[event.key];
      const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
      if (by && details.open && plain) step(details, by);
    });
  }
  window.addEventListener("hashchange", openAddressed);
  openAddressed();
}

listenToSections();
for (const only of document.querySelectorAll("[data-only]")) showPairs(only);
