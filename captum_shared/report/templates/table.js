// Tables to sort by any column: a number that is not known comes last, either way.

/** Let the buttons in the head of a table sort its rows; keyOf(row, name) gives a number, a text or null. */
function sortable(table, keyOf) {
  const body = table.tBodies[0];
  const first = [...body.rows];
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  const compare = (one, other) => (typeof one === "number" ? one - other : collator.compare(one, other));
  const heads = [...table.tHead.querySelectorAll("th[data-name]")];

  function sort(head) {
    const before = head.getAttribute("aria-sort");
    const beginning = head.dataset.first;
    const direction = before === null ? beginning : before === "ascending" ? "descending" : "ascending";
    heads.forEach((each) => each.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", direction);
    const sign = direction === "ascending" ? 1 : -1;
    const keys = new Map(first.map((row) => [row, keyOf(row, head.dataset.name)]));
    const known = first.filter((row) => keys.get(row) !== null);
    known.sort((one, other) => sign * compare(keys.get(one), keys.get(other)));
    body.append(...known, ...first.filter((row) => keys.get(row) === null));
  }
  heads.forEach((head) => head.querySelector("button").addEventListener("click", () => sort(head)));
}
