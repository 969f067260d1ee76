"use strict";
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const shown = {};  // id -> which choice is on the page
  let printing = false;

  const theme = () => (printing ? "light" : root.dataset.choice || (system.matches ? "dark" : "light"));
  const value = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  /* "@1/0.2" -> the first series' colour at that opacity, "@ink" -> the text's colour */
  function colour(token) {
    const [name, opacity] = token.slice(1).split("/");
    const hex = value(/^\d/.test(name) ? `--s${name}` : `--${name}`);
    if (opacity === undefined) return hex;
    const [r, g, b] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
    return `rgba(${r},${g},${b},${opacity})`;
  }

  /* Tokens stand only where plotly expects colours, so a class called "@1" stays a class. */
  function themed(node, key = "") {
    if (Array.isArray(node)) return node.map((item) => (key === "colorscale" ? [item[0], colour(item[1])] : themed(item)));
    if (node !== null && typeof node === "object")
      return Object.fromEntries(Object.entries(node).map(([k, v]) => [k, themed(v, k)]));
    return /color$/.test(key) && typeof node === "string" && node.startsWith("@") ? colour(node) : node;
  }

  function merged(base, extra) {
    const out = { ...base };
    for (const [key, item] of Object.entries(extra))
      out[key] = item && typeof item === "object" && !Array.isArray(item) ? merged(out[key] || {}, item) : item;
    return out;
  }

  function draw(id) {
    const place = document.getElementById(id);
    const figure = figures[id].choices[shown[id] || 0];
    const narrow = place.clientWidth < 480;
    const axis = { color: "@muted", gridcolor: "@line", linecolor: "@line", zeroline: false, automargin: true, title: { standoff: 10 } };
    const { square, ...own } = figure.layout;
    place.classList.toggle("square", Boolean(square));
    const base = {
      font: { family: getComputedStyle(document.body).fontFamily, size: narrow ? 11 : 12.5, color: "@ink" },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", autosize: true,
      margin: { l: 8, r: 12, t: 26, b: 8 }, xaxis: axis, yaxis: axis,
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
      hoverlabel: { bgcolor: "@paper", bordercolor: "@line", font: { color: "@ink" }, align: "left" },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: "@muted", activecolor: "@ink" },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { color: "@ink" } },
    };
    if (printing) [base.width, base.height] = [place.clientWidth, place.clientHeight];  // the paper's, not the window's
    const config = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"] };
    config.displayModeBar = matchMedia("(hover: hover)").matches ? "hover" : false;
    Plotly.react(place, themed(figure.data), themed(merged(base, own)), config);
  }

  function restyle() {
    root.toggleAttribute("data-printing", printing);
    root.dataset.theme = theme();
    if (typeof Plotly !== "undefined") Object.keys(figures).forEach(draw);
  }

  document.querySelectorAll("select[data-figure]").forEach((select) =>
    select.addEventListener("change", () => { shown[select.dataset.figure] = select.selectedIndex; draw(select.dataset.figure); }));
  document.querySelectorAll("select[data-panels]").forEach((select) => {
    const panels = document.querySelectorAll(`[data-panel="${select.dataset.panels}"]`);
    const show = () => panels.forEach((panel, i) => { panel.hidden = i !== select.selectedIndex; });
    select.addEventListener("change", show);
    show();
  });

  const button = document.getElementById("theme");
  const told = () => { button.textContent = theme() === "dark" ? "Light" : "Dark"; button.setAttribute("aria-label", `Switch to ${button.textContent.toLowerCase()} colours`); };
  button.hidden = false;
  button.addEventListener("click", () => { root.dataset.choice = theme() === "dark" ? "light" : "dark"; restyle(); told(); });
  system.addEventListener("change", () => { restyle(); told(); });
  addEventListener("beforeprint", () => { printing = true; restyle(); });
  addEventListener("afterprint", () => { printing = false; restyle(); });
  restyle();
  told();
})();
