// Here: what every page needs: its data, colours, the drawing library, the tooltip, saving, copying.
// Not here: any estimate; numbers are shown as they are stored.
"use strict";
const creode = (() => {
  const page = JSON.parse(document.getElementById("data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const element = (id) => document.getElementById(id);

  const make = (tag, text, className) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  };
  const asRows = (columns) => {
    const names = Object.keys(columns);
    const count = names.length ? columns[names[0]].length : 0;
    return Array.from({ length: count }, (_, i) =>
      Object.fromEntries(names.map((name) => [name, columns[name][i]])));
  };

  // 16-bit levels between two extremes; the highest level stands for a missing value.
  const unpack = ({ low, high, shape, levels }) => {
    const bytes = new DataView(Uint8Array.from(atob(levels), (c) => c.charCodeAt(0)).buffer);
    const at = (i) => {
      const level = bytes.getUint16(2 * i, true);
      return level === 65535 ? null : low + ((high - low) * level) / 65534;
    };
    return Array.from({ length: shape[0] }, (_, chain) =>
      Array.from({ length: shape[1] }, (_, i) => at(chain * shape[1] + i)));
  };

  // Chains of a reading by its place among the readings, as rows of the charts of chains.
  const chainsOf = (index) => {
    const packed = page.traces[index];
    if (!packed) return { draws: [], lags: [] };
    const [excess, running] = [unpack(packed.excess), unpack(packed.running)];
    const draws = excess.flatMap((values, chain) => values.map((value, i) => (
      { chain, draw: i * packed.stride, excess: value, running: running[chain][i] })));
    const lags = unpack(packed.autocorrelation).flatMap((values, chain) =>
      values.map((autocorrelation, lag) => ({ chain, lag, autocorrelation })));
    return { draws, lags };
  };

  const coloured = (spec, theme) => JSON.parse(JSON.stringify(spec), (_, value) =>
    typeof value === "string" && value.startsWith("role:") ? theme[value.slice(5)] ?? value : value);
  const copies = (rows) => rows.map((row) => ({ ...row })); // Vega writes into its rows

  // The library is compressed in the page; run it before the first chart.
  const loadLibrary = async () => {
    const bytes = Uint8Array.from(atob(element("library").textContent), (c) => c.charCodeAt(0));
    const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    document.head.append(make("script", await new Response(plain).text()));
  };

  // As many panels side by side as there is room for, in charts of many.
  const AXIS = 56; // px beside the first panel for its axis, and the padding of the chart
  const fitPanels = (spec, least, width) => {
    const gap = spec.layout.padding.column;
    const room = Math.floor((width - AXIS + gap) / (least + gap));
    const count = Math.max(1, Math.min(spec.layout.columns, room));
    spec.layout.columns = count;
    const panel = spec.signals.find((signal) => signal.name === "child_width");
    panel.value = Math.floor((width - AXIS - (count - 1) * gap) / count);
  };

  // Beside the pointer and within the window.
  const place = (tooltip, event) => {
    const [width, height] = [tooltip.offsetWidth, tooltip.offsetHeight];
    const left = Math.min(event.clientX + 16, innerWidth - width - 8);
    const below = event.clientY + 18;
    const top = below + height < innerHeight ? below : event.clientY - height - 14;
    tooltip.style.left = `${Math.max(8, left)}px`;
    tooltip.style.top = `${Math.max(8, top)}px`;
  };

  const save = async (view, name, kind) => {
    const before = view.background();
    view.background(getComputedStyle(document.body).backgroundColor);
    const url = await view.toImageURL(kind, kind === "png" ? 2 : 1);
    view.background(before);
    await view.runAsync();
    const link = make("a");
    link.href = url;
    link.download = `${name}.${kind}`;
    link.click();
  };

  const copyCommand = () => {
    element("copy")?.addEventListener("click", async () => {
      const text = element("command").textContent;
      let done = true;
      try {
        await navigator.clipboard.writeText(text);
      } catch { // not allowed for this page: select it and use the older way
        getSelection().selectAllChildren(element("command"));
        done = document.execCommand("copy");
      }
      element("copied").textContent = done ? "Copied" : "Select the text and copy it";
      setTimeout(() => { element("copied").textContent = ""; }, 2500);
    });
  };
  return {
    page, dark, element, make, asRows, unpack, chainsOf, coloured, copies, loadLibrary, fitPanels, place,
    save,
    copyCommand,
  };
})();
