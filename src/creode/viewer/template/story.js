// Here: the charts of a page that tells a story: each drawn once, with what a point says.
// Not here: what other pages need too (drawing.js); any estimate.
(() => {
  const { page, dark, element, make, asRows, coloured, copies, loadLibrary, fitPanels, place, save, copyCommand } = creode;
  const tooltip = element("tooltip");
  const rows = Object.fromEntries(
    Object.entries(page.datasets).map(([name, columns]) => [name, asRows(columns)]));
  const words = (row) => row.title !== undefined
    ? [row.title, row.text]
    : row.chi_text !== undefined ? [`${row.component} to ${row.dataset}`, row.chi_text] : null;
  const showRow = (_, event, item, value) => {
    const row = value === null || typeof value !== "object" ? null : value.datum ?? value;
    const told = row && words(row);
    if (!told) { tooltip.hidden = true; return; }
    tooltip.replaceChildren(make("strong", told[0]));
    if (told[1]) tooltip.append(make("div", told[1]));
    for (const word of row.words ?? []) tooltip.append(make("div", word));
    tooltip.hidden = false;
    place(tooltip, event);
  };

  const views = new Map();
  const draw = async (holder) => {
    const name = holder.dataset.figure;
    const { chart, facet } = page.figures[name];
    const spec = coloured(chart, page.themes[dark.matches ? "dark" : "light"]);
    for (const entry of spec.data) if (entry.name in rows) entry.values = copies(rows[entry.name]);
    if (facet) fitPanels(spec, facet, holder.clientWidth);
    else {
      spec.width = holder.clientWidth;
      spec.autosize = { type: "fit-x", contains: "padding" };
    }
    views.get(name)?.finalize();
    const stage = make("div"); // Vega names its element anew; the holder keeps the description
    holder.replaceChildren(stage);
    const { view, finalize } = await vegaEmbed(stage, spec, {
      mode: "vega", renderer: "svg", actions: false, defaultStyle: false, tooltip: showRow, logLevel: 1,
    });
    if (stage.parentNode !== holder) return finalize(); // drawn anew in the meantime
    views.set(name, { view, finalize });
    return undefined;
  };
  const drawAll = () => Promise.all([...document.querySelectorAll(".chart")].map(draw));
  for (const button of document.querySelectorAll("[data-save]"))
    button.addEventListener("click", () =>
      save(views.get(button.dataset.figure).view, button.dataset.figure, button.dataset.save));
  copyCommand();
  loadLibrary().then(drawAll).then(() => { document.documentElement.dataset.drawn = "true"; });
  dark.addEventListener("change", drawAll);
  let width = innerWidth;
  let waiting;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { if (innerWidth !== width) { width = innerWidth; drawAll(); } }, 120);
  });
})();
