// Here: the charts of a report of readings, its pickers and its table.
// Not here: what other pages need too (drawing.js); any estimate.
(() => {
  const {
    page, dark, element, make, asRows, chainsOf, coloured, copies, loadLibrary, fitPanels, place, save,
    copyCommand,
  } = creode;
  const NOWHERE = -1; // the signal "at" when no step is pointed at

  // ---- data ---------------------------------------------------------------------------------
  const readings = asRows(page.readings).map((row, index) => ({ ...row, index }));
  const probes = [
    ...readings.map((row) => ({ ...row, probe: page.own })), ...asRows(page.probes),
  ];
  const losses = asRows(page.losses);
  const development = Object.fromEntries(
    Object.entries(page.development).map(([name, columns]) => [name, asRows(columns)]));

  // ---- state --------------------------------------------------------------------------------
  const state = { reading: readings.findLast((row) => row.component === "full") || readings.at(-1), at: NOWHERE };
  // The checkpoint at which components are compared: the reading's, if several were read there.
  const comparedStep = () =>
    (page.compared.includes(state.reading.step) ? state.reading.step : page.compared.at(-1));
  const named = (step) => (step === null ? "" : ` at step ${step.toLocaleString("en")}`);
  const datasets = () => {
    const here = (row) => row.step === comparedStep();
    return {
      losses, readings, ...development, current: readings.filter(here), probes: probes.filter(here),
      chosen: [state.reading], ...chainsOf(state.reading.index),
    };
  };

  // ---- charts -------------------------------------------------------------------------------
  const OF_A_READING = ["current", "probes", "draws", "lags", "chosen"]; // change with the reading
  const views = new Map(); // figure name -> {view, finalize, names of its data sets}

  const draw = async (holder) => {
    const name = holder.dataset.figure;
    const { chart, facet } = page.figures[name];
    const { reading } = state;
    const data = datasets();
    const spec = coloured(chart, page.themes[dark.matches ? "dark" : "light"]);
    const names = spec.data.map((entry) => entry.name).filter((entry) => entry in data);
    for (const entry of spec.data) if (entry.name in data) entry.values = copies(data[entry.name]);
    const width = holder.clientWidth;
    if (facet) fitPanels(spec, facet, width);
    else {
      spec.width = width;
      spec.autosize = { type: "fit-x", contains: "padding" };
    }
    views.get(name)?.finalize();
    const stage = make("div"); // Vega names its element anew; the holder keeps the description
    holder.replaceChildren(stage);
    const { view, finalize } = await vegaEmbed(stage, spec, {
      mode: "vega", renderer: "svg", actions: false, defaultStyle: false, tooltip: showTooltip,
      logLevel: 1, // errors; a reading without a value leaves a scale empty, which is no mistake
    });
    if (stage.parentNode !== holder) return finalize(); // drawn anew in the meantime
    if (spec.signals?.some((signal) => signal.name === "hover"))
      view.addSignalListener("hover", (_, hover) => pointAt(hover?.near?.[0] ?? NOWHERE));
    view.addEventListener("click", (_, item) => {
      const row = rowOf(item?.datum);
      if (!row?.component) return;
      choose(readingOf(row.step, row.component));
      element("chains").scrollIntoView();
    });
    views.set(name, { view, finalize, names });
    if (state.reading !== reading) refresh(...OF_A_READING);
    return undefined;
  };
  const drawAll = () => Promise.all([...document.querySelectorAll(".chart")].map(draw));
  const refresh = (...changed) => {
    const data = datasets();
    for (const { view, names } of views.values()) {
      const stale = names.filter((name) => changed.includes(name));
      for (const name of stale) view.data(name, copies(data[name]));
      if (stale.length) view.resize().runAsync();
    }
  };
  const pointAt = (step) => {
    if (step === state.at) return;
    state.at = step;
    for (const { view } of views.values())
      if ("at" in (view.getState({ signals: (name) => name === "at", data: () => false }).signals ?? {}))
        view.signal("at", step).runAsync();
  };

  // ---- what a point says ----------------------------------------------------------------------
  const rowOf = (datum) => datum?.datum ?? datum; // the nearest point is wrapped once
  const fields = [
    ["λ̂", (row) => row.llc_text], ["λ̂ by variance", (row) => row.llc_variance_text],
    ["loss", (row) => row.loss?.toPrecision(4)],
    ["ESS", (row) => row.ess?.toFixed(0)], ["R-hat", (row) => row.rhat?.toFixed(3)],
  ];
  const showTooltip = (_, event, item, value) => {
    const tooltip = element("tooltip");
    const row = rowOf(value);
    tooltip.hidden = row === null || row === undefined || typeof row !== "object";
    if (tooltip.hidden) return;
    const name = (row.component ?? row.series) + (row.probe ? ` on ${row.probe}` : "");
    const title = row.title ?? name + named(row.step);
    const list = make("dl");
    for (const [label, of] of fields) {
      const text = of(row);
      if (text !== undefined && text !== null) list.append(make("dt", label), make("dd", text));
    }
    tooltip.replaceChildren(make("strong", title), list);
    if (row.text) tooltip.append(make("div", row.text));
    for (const words of row.words ?? []) tooltip.append(make("div", words));
    if (row.alarm) tooltip.append(make("div", `▼ alarm: ${row.alarm}`, "doubt"));
    if (row.reasons) tooltip.append(make("div", `✕ ${row.reasons}`, "doubt"));
    place(tooltip, event);
  };

  // ---- table and words --------------------------------------------------------------------------
  const numberCell = (value, text) => {
    const cell = make("td");
    const data = make("data", value === null ? "–" : text);
    data.value = value ?? "";
    cell.append(data);
    return cell;
  };
  const reasonRow = (row) => {
    const line = make("tr", undefined, "reason");
    const cell = make("td", undefined, "doubt");
    cell.colSpan = 8;
    cell.append(make("div", row.reasons));
    line.append(cell);
    return line;
  };
  const tableRow = (row) => {
    const line = make("tr");
    const name = make("th");
    name.scope = "row";
    const button = make("button", row.component);
    button.type = "button";
    button.addEventListener("click", () => choose(row));
    name.append(button);
    if (row.index === state.reading.index) line.setAttribute("aria-current", "true");
    line.append(
      name, numberCell(row.llc, row.llc_text), numberCell(row.llc_variance, row.llc_variance_text),
      numberCell(row.ess, row.ess?.toLocaleString("en", { maximumFractionDigits: 0 })),
      numberCell(row.rhat, row.rhat?.toFixed(3)), numberCell(row.virial, row.virial_text),
      numberCell(row.temperature, row.temperature_text),
      make("td", row.ok ? "trusted" : "✕ in doubt", row.ok ? "" : "doubt"));
    return row.ok ? [line] : [line, reasonRow(row)];
  };
  const showChosen = () => {
    const row = state.reading;
    element("chosen-name").textContent = row.component + named(row.step);
    const words = element("chosen-verdict");
    words.textContent = row.ok
      ? `λ̂ = ${row.llc_text}. Can be trusted.`
      : `✕ ${row.llc === null ? "No λ̂" : `λ̂ = ${row.llc_text}`}. Cannot be trusted: ${row.reasons}.`;
    words.classList.toggle("doubt", !row.ok);
    element("chosen-notes").textContent = row.notes && `Note: ${row.notes}.`;
    for (const where of document.querySelectorAll(".where"))
      where.textContent = named(where.closest("#chains") ? row.step : comparedStep());
    const table = element("diagnostics").tBodies[0];
    table.replaceChildren(...readings.filter((other) => other.step === row.step).flatMap(tableRow));
    for (const picker of document.querySelectorAll("[data-pick]")) {
      const step = picker.closest("#chains") ? row.step : comparedStep();
      picker.value = picker.dataset.pick === "checkpoint" ? String(step) : row.component;
    }
    const figures = element("chain-figures");
    if (figures) {
      const stored = row.index in page.traces;
      figures.hidden = !stored;
      element("no-chains").hidden = stored;
    }
  };

  // ---- choosing a reading -------------------------------------------------------------------------
  const readingOf = (step, component) =>
    readings.find((row) => row.step === step && row.component === component);
  const choose = (reading) => {
    if (!reading || reading === state.reading) return;
    state.reading = reading;
    showChosen();
    refresh(...OF_A_READING);
  };
  for (const picker of document.querySelectorAll("[data-pick]"))
    picker.addEventListener("change", () => {
      // Not every component is read at every checkpoint: keep what was picked.
      if (picker.dataset.pick === "checkpoint") {
        const step = Number(picker.value);
        choose(readingOf(step, state.reading.component) ?? readings.find((row) => row.step === step));
      } else {
        const component = picker.value;
        choose(readingOf(state.reading.step, component)
          ?? readings.findLast((row) => row.component === component));
      }
    });
  for (const link of document.querySelectorAll("[data-reading]"))
    link.addEventListener("click", () => {
      choose(readings[Number(link.dataset.reading)]);
    });
  element("next-doubt")?.addEventListener("click", () => {
    const doubts = readings.filter((row) => !row.ok);
    const next = doubts.find((row) => row.index > state.reading.index) ?? doubts[0];
    choose(next);
  });

  // ---- saving and copying -------------------------------------------------------------------------
  for (const button of document.querySelectorAll("[data-save]"))
    button.addEventListener("click", () => save(views.get(button.dataset.figure).view, button.dataset.figure, button.dataset.save));

  copyCommand();

  // ---- begin ----------------------------------------------------------------------------------------
  showChosen();
  loadLibrary().then(drawAll).then(() => { document.documentElement.dataset.drawn = "true"; });
  dark.addEventListener("change", drawAll);
  let width = innerWidth;
  let waiting;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { if (innerWidth !== width) { width = innerWidth; drawAll(); } }, 120);
  });
})();
