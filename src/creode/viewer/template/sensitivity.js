// Here: the chart of readings around a choice of settings, and what a point says.
// Not here: what other pages need too (drawing.js); any estimate.
(() => {
  const { page, dark, element, make, asRows, coloured, copies, loadLibrary, fitPanels, place, save } = creode;
  const tooltip = element("tooltip");
  const rows = Object.fromEntries(
    Object.entries(page.datasets).map(([name, columns]) => [name, asRows(columns)]));
  const fields = [
    ["λ̂", (row) => row.llc_text], ["nβ", (row) => row.nbeta.toPrecision(3)],
    ["γ", (row) => row.gamma.toPrecision(3)], ["step size", (row) => row.step_size.toPrecision(3)],
    ["steps of a chain", (row) => row.steps.toFixed(0)], ["ESS", (row) => row.ess?.toFixed(0)],
    ["R-hat", (row) => row.rhat?.toFixed(3)], ["R-hat of the distance", (row) => row.rhat_distance?.toFixed(2)],
    ["virial", (row) => row.virial?.toFixed(3)],
  ];
  const showRow = (_, event, item, value) => {
    if (value === null || typeof value !== "object") { tooltip.hidden = true; return; }
    const row = value.datum ?? value;
    const list = make("dl");
    for (const [label, of] of fields) {
      const text = of(row);
      if (text !== undefined && text !== null) list.append(make("dt", label), make("dd", text));
    }
    tooltip.replaceChildren(make("strong", row.chosen ? `${row.cell}: the choice` : row.cell), list);
    if (row.reasons) tooltip.append(make("div", `✕ ${row.reasons}`, "doubt"));
    tooltip.hidden = false;
    place(tooltip, event);
  };

  const views = new Map();
  const draw = async (holder) => {
    const name = holder.dataset.figure;
    const { chart, facet } = page.figures[name];
    const spec = coloured(chart, page.themes[dark.matches ? "dark" : "light"]);
    for (const entry of spec.data) if (entry.name in rows) entry.values = copies(rows[entry.name]);
    fitPanels(spec, facet, holder.clientWidth);
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
  loadLibrary().then(drawAll).then(() => { document.documentElement.dataset.drawn = "true"; });
  dark.addEventListener("change", drawAll);
  let width = innerWidth;
  let waiting;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { if (innerWidth !== width) { width = innerWidth; drawAll(); } }, 120);
  });
})();
