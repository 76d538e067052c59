// Here: the charts of a report of responses or of an audit, the coloured text, what is picked.
// Not here: what other pages need too (drawing.js); any estimate.
(() => {
  const {
    page, dark, element, make, asRows, unpack, chainsOf, coloured, copies, loadLibrary, place, save,
    copyCommand,
  } = creode;
  const theme = () => page.themes[dark.matches ? "dark" : "light"];
  const tooltip = element("tooltip");

  // ---- charts -------------------------------------------------------------------------------
  const rows = Object.fromEntries(
    Object.entries(page.datasets).map(([name, columns]) => [name, asRows(columns)]));
  const modes = element("mode");
  const chosenMode = () => Number(modes?.value);
  const view = element("view");
  const readings = asRows(page.readings);
  const reading = element("chain-reading"); // there is no picker for a single one
  const chosenReading = () => Number(reading?.value ?? 0);
  // Of several, one at a time: rows and elements that are of the option with the number `picked`.
  const pickers = [...document.querySelectorAll("[data-picks]")];
  const picked = () => Object.fromEntries(pickers.map(({ dataset: { picks }, value }) =>
    [picks, rows[picks].filter((row) => row.picked === Number(value))]));
  const datasets = () => ({
    ...rows, ...picked(),
    response: rows.response.filter((row) => !view || row.view === view.value),
    loadings: rows.loadings.filter((row) => row.mode === chosenMode()),
    chosen: readings.slice(chosenReading(), chosenReading() + 1), ...chainsOf(chosenReading()),
  });
  const views = new Map();
  const draw = async (holder) => {
    const name = holder.dataset.figure;
    const data = datasets();
    const spec = coloured(page.figures[name].chart, theme());
    for (const entry of spec.data) if (entry.name in data) entry.values = copies(data[entry.name]);
    spec.width = holder.clientWidth;
    spec.autosize = { type: "fit-x", contains: "padding" };
    views.get(name)?.finalize();
    const stage = make("div"); // Vega names its element anew; the holder keeps the description
    holder.replaceChildren(stage);
    const { view, finalize } = await vegaEmbed(stage, spec, {
      mode: "vega", renderer: "svg", actions: false, defaultStyle: false, tooltip: showRow,
      logLevel: 1,
    });
    if (stage.parentNode !== holder) return finalize(); // drawn anew in the meantime
    view.addEventListener("click", (_, item) => {
      const { mode, component } = item?.datum ?? {};
      if (name === "response_heat_map" && component !== undefined) chooseTokens(component);
      if (mode === undefined || !modes) return;
      modes.value = String(mode);
      modes.dispatchEvent(new Event("change"));
    });
    views.set(name, { view, finalize });
    return undefined;
  };
  const drawAll = () => Promise.all([...document.querySelectorAll(".chart")].map(draw));
  const redraw = (...names) => {
    for (const name of names) draw(document.querySelector(`.chart[data-figure="${name}"]`));
  };
  modes?.addEventListener("change", () => redraw("mode_loadings"));
  view?.addEventListener("change", () => redraw("response_heat_map"));
  const showPicked = ({ dataset: { picks }, value }) => {
    for (const one of document.querySelectorAll(`[data-of="${picks}"]`))
      one.hidden = one.dataset.picked !== value;
  };
  for (const picker of pickers) {
    showPicked(picker);
    picker.addEventListener("change", () => {
      showPicked(picker);
      redraw(...Object.keys(page.figures).filter((name) =>
        page.figures[name].chart.data.some((entry) => entry.name === picker.dataset.picks)));
    });
  }

  // ---- chains ---------------------------------------------------------------------------------
  const CHAINS = ["chain_losses", "chain_running_llc", "chain_autocorrelation"];
  const markReading = () => {
    const stored = chosenReading() in page.traces;
    for (const line of document.querySelectorAll("#diagnostics [data-row]")) {
      if (Number(line.dataset.row) === chosenReading()) line.setAttribute("aria-current", "true");
      else line.removeAttribute("aria-current");
    }
    if (!element("chain-figures")) return;
    element("chain-figures").hidden = !stored;
    element("no-chains").hidden = stored;
  };
  reading?.addEventListener("change", () => {
    markReading();
    if (element("chain-figures")) redraw(...CHAINS);
  });
  for (const link of document.querySelectorAll("[data-reading]"))
    link.addEventListener("click", () => {
      if (!reading) return;
      reading.value = link.dataset.reading;
      reading.dispatchEvent(new Event("change"));
    });
  markReading();

  // ---- what a point says ----------------------------------------------------------------------
  const told = (row) => (row.significant === null || row.significant === undefined
    ? undefined : row.significant ? "told from 0" : "not told from 0");
  const fields = [
    ["χ", (row) => (row.plain_text ? undefined : row.chi_text)],
    ["standardised χ", (row) => (row.plain_text ? row.chi_text : undefined)], ["", told],
    ["χ (nats²)", (row) => row.plain_text], ["", (row) => (row.doubt ? "✕ in doubt" : undefined)],
    ["as measured", (row) => row.singular_value_text], ["noise floor", (row) => row.noise_floor_text],
    ["without noise", (row) => (row.resolved ? row.corrected_text : undefined)],
    ["loading", (row) => row.loading_text],
    ["", (row) => (row.resolved === false ? "not resolved" : undefined)],
  ];
  const titleOf = (row) => [
    row.component, row.dataset && `on ${row.dataset}`, row.mode !== undefined && `mode ${row.mode}`,
  ].filter(Boolean).join(" ");
  const say = (title, pairs, event) => {
    const list = make("dl");
    for (const [label, text] of pairs)
      if (text !== undefined && text !== null) list.append(make("dt", label), make("dd", text));
    tooltip.replaceChildren(make("strong", title), list);
    tooltip.hidden = false;
    place(tooltip, event);
  };
  const showRow = (_, event, item, value) => {
    if (value === null || typeof value !== "object") { tooltip.hidden = true; return; }
    const row = value.datum ?? value;
    if (row.title !== undefined) { say(row.title, [["", row.text]], event); return; }
    say(titleOf(row), fields.map(([label, of]) => [label, of(row)]), event);
  };

  // ---- coloured text ----------------------------------------------------------------------------
  // A value to the place of its error's second digit, as wording.py writes it.
  const grouped = (value, places) => value.toLocaleString("en", {
    minimumFractionDigits: places, maximumFractionDigits: places,
  }).replace("-", "−");
  const placesOf = (value, digits) =>
    Math.min(Math.max(0, digits - 1 - Math.floor(Math.log10(Math.abs(value)))), 9);
  const [MOST_PLACES, TINY] = [6, -3];
  const power = (value) => Math.floor(Math.log10(Math.abs(value)));
  const raised = (exponent) => String(exponent).replace(/[-0-9]/g, (c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]);
  const withError = (value, error) => {
    if (value === null) return "–";
    if (error === null || error <= 0) {
      if (value === 0) return "0";
      const places = placesOf(value, 3);
      return places <= MOST_PLACES ? grouped(value, places)
        : `${grouped(value / 10 ** power(value), 2)} × 10${raised(power(value))}`;
    }
    const places = placesOf(error, 2);
    const exponent = power(Math.max(Math.abs(value), error));
    if (places > MOST_PLACES && exponent < TINY) {
      return `(${withError(value / 10 ** exponent, error / 10 ** exponent)}) × 10${raised(exponent)}`;
    }
    return `${grouped(value, places)} ± ${grouped(error, places)}`;
  };
  const mixed = (value, full) => {
    const share = full > 0 ? Math.min(1, Math.abs(value) / full) : 0;
    return `color-mix(in oklab, var(--${value < 0 ? "below" : "above"}) ${(100 * share).toFixed(1)}%, var(--middle))`;
  };
  const { tokens } = page;
  const visible = (text) => text.replace(/\n/g, "⏎\n").replace(/\t/g, "⇥\t");
  const option = (text, value) => {
    const made = make("option", text);
    made.value = value;
    return made;
  };
  const showTokens = () => {
    const at = Number(element("token-view").value);
    const sample = Number(element("token-sample").value);
    const { name, unit, full } = tokens.views[at];
    const texts = tokens.texts[sample];
    const start = sample * texts.length;
    const [values] = unpack(tokens.values[at]);
    const [errors] = unpack(tokens.errors[at]);
    const spans = texts.flatMap((text, t) => {
      if (text === "") return [];
      const [value, error] = [values[start + t], errors[start + t]];
      const span = make("span", visible(text));
      span.tabIndex = -1;
      if (value !== null) span.style.background = mixed(value, full);
      const said = value === null ? "no value" : withError(value, error);
      span.ariaLabel = `${text.trim() || "space"}: ${said}`;
      span.dataset.said = said;
      const tell = (event) => {
        element("token-value").textContent = `${name}, token ${t}: ${unit} = ${said}`;
        const box = span.getBoundingClientRect();
        const where = event.clientX === undefined ? { clientX: box.left, clientY: box.bottom } : event;
        say(JSON.stringify(text), [[unit, said], ["token", String(t)]], where);
      };
      span.addEventListener("pointermove", tell);
      span.addEventListener("focus", tell);
      span.addEventListener("pointerleave", () => { tooltip.hidden = true; });
      span.addEventListener("blur", () => { tooltip.hidden = true; });
      return [span];
    });
    if (spans.length) spans[0].tabIndex = 0; // one stop for the tab key; arrows go on from there
    element("token-text").replaceChildren(...spans);
    element("token-value").textContent = "";
    element("scale-low").textContent = withError(-full, null);
    element("scale-high").textContent = `${withError(full, null)} ${unit}`;
  };
  // Of the component of a cell that was clicked.
  const chooseTokens = (name) => {
    const at = tokens?.views.findIndex((one) => one.name === name) ?? -1;
    if (at < 0) return;
    element("token-view").value = at;
    showTokens();
  };
  if (tokens) {
    element("token-view").append(...tokens.views.map(({ name }, i) => option(name, i)));
    element("token-sample").append(...tokens.samples.map((name, i) => option(name, i)));
    for (const id of ["token-view", "token-sample"]) element(id).addEventListener("change", showTokens);
    element("token-text").addEventListener("keydown", (event) => {
      const step = { ArrowRight: "nextElementSibling", ArrowLeft: "previousElementSibling" }[event.key];
      const next = step && document.activeElement?.[step];
      if (!next) return;
      event.preventDefault();
      document.activeElement.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
    showTokens();
  }

  // ---- queries ----------------------------------------------------------------------------------
  const query = element("query");
  const showQuery = () => {
    for (const article of document.querySelectorAll(".query"))
      article.hidden = article.dataset.query !== query.value;
  };
  query?.addEventListener("change", showQuery);
  if (query) showQuery();

  // ---- begin ------------------------------------------------------------------------------------
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
