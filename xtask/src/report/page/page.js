// Values under the pointer, hiding of curves, lines of single seeds, downloads. The page is complete without this script.
const all = (within, query) => [...within.querySelectorAll(query)];
const filled = (element, attributes, children) => {
  Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
  element.append(...children);
  return element;
};
const make = (name, attributes, ...children) => filled(document.createElement(name), attributes, children);
const draw = (name, attributes, ...children) =>
  filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
const button = (attributes, action, ...children) => {
  const made = make("button", { type: "button", ...attributes }, ...children);
  made.addEventListener("click", () => action(made));
  return made;
};
document.documentElement.classList.add("script");

const digits = (text, percent) => {
  const value = Number(text);
  if (percent) return (100 * value).toFixed(1) + " %";
  const size = Math.abs(value);
  return size >= 1e7 || (size && size < 1e-4) ? value.toExponential(3) : String(Number(value.toPrecision(4)));
};
const centre = point => {
  const box = point.querySelector(".mark").getBBox();
  return { x: box.x + box.width / 2, y: box.y + box.height / 2 };
};
const named = point => point.closest("[data-label]").dataset.label;
const tip = make("div", { class: "tip", role: "status", hidden: "" });
document.body.append(tip);

// The crosshair of a drawing, by pointer or by arrow keys.
const crosshair = svg => {
  const { hover, area, x: nameX, y: nameY, percent } = svg.dataset;
  const [left, top, right, bottom] = area.split(" ");
  const [single, isPercent] = [hover === "point", percent !== undefined];
  const cross = draw("path", { class: "cross" });
  svg.append(cross);
  const points = () => all(svg, ".point").filter(point => !point.closest(".off"));
  let current = null;
  const hide = () => {
    tip.hidden = true;
    cross.removeAttribute("d");
    current = null;
  };
  const text = (value, error, percent) => digits(value, percent) + (error ? " ± " + digits(error, percent) : "");
  const lines = (point, at) => {
    const { x, y, xError, yError } = point.dataset;
    if (single) return [named(point), `${nameX} ${text(x, xError)}`, `${nameY} ${text(y, yError, isPercent)}`];
    const near = points().filter(other => Math.abs(centre(other).x - at) < 4);
    return [`${point.dataset.name ?? digits(x)} ${nameX}`, ...near.map(other => {
      const { y: middle, low, high } = other.dataset;
      const range = low === high ? "" : ` [${digits(low, isPercent)}, ${digits(high, isPercent)}]`;
      return `${named(other)}: ${digits(middle, isPercent)}${range}`;
    })];
  };
  const show = point => {
    if (!point) return hide();
    const { x, y } = centre(point);
    current = point;
    cross.setAttribute("d", `M${x} ${top}V${bottom}` + (single ? `M${left} ${y}H${right}` : ""));
    tip.replaceChildren(...lines(point, x).map((line, index) => make(index ? "span" : "b", {}, line)));
    tip.hidden = false;
    const [mark, room] = [point.getBoundingClientRect(), document.documentElement.clientWidth - tip.offsetWidth - 8];
    const beside = mark.right + 12 > room ? mark.left - tip.offsetWidth - 12 : mark.right + 12;
    tip.style.left = Math.max(8, Math.min(room, beside)) + "px";
    tip.style.top = Math.max(8, mark.top - tip.offsetHeight - 8) + "px";
  };
  const pointed = event => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const far = point => Math.hypot(centre(point).x - at.x, (centre(point).y - at.y) * (single ? 1 : 1e-3));
    const near = points().map(point => [far(point), point]).sort((one, other) => one[0] - other[0])[0];
    show(near && near[0] < (single ? 24 : 60) && near[1]);
  };
  const keyed = event => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "Escape") hide();
    if (!step) return;
    event.preventDefault();
    const far = point => step * centre(point).x;
    const ordered = points().sort((one, other) => far(one) - far(other));
    const from = ordered.indexOf(current);
    show(ordered.slice(from + 1).find(point => single || from < 0 || far(point) - far(current) > 4) || current);
  };
  Object.entries({ pointermove: pointed, pointerdown: pointed, pointerleave: hide, blur: hide, keydown: keyed })
    .forEach(([event, action]) => svg.addEventListener(event, action));
  // The browser's own tooltips would cover this one.
  all(svg, "title").forEach(title => title.remove());
};
all(document, "svg.chart").forEach(crosshair);

// The entries of a key become buttons.
for (const scope of all(document, "[data-scope]")) {
  const off = new Set();
  for (const entry of all(scope, ".key [data-key]")) {
    entry.append(button({ "aria-pressed": "true" }, made => {
      const { key } = entry.dataset;
      if (!off.delete(key)) off.add(key);
      made.setAttribute("aria-pressed", !off.has(key));
      all(scope, "svg [data-series]").forEach(part =>
        part.classList.toggle("off", part.dataset.series.split(" ").some(name => off.has(name))));
    }, ...entry.childNodes));
  }
}
for (const section of all(document, "section")) {
  if (!section.querySelector(".seed")) continue;
  const box = make("input", { type: "checkbox" });
  box.addEventListener("change", () => section.classList.toggle("seeds", box.checked));
  section.querySelector("h2").after(make("label", { class: "option" }, box, "Lines of single seeds"));
}

// Downloads, made of what the page shows.
const save = (kind, name, type, text) => button({ class: "save", "aria-label": `Download ${kind}: ${name}` }, () => {
  const href = URL.createObjectURL(new Blob([text()], { type }));
  const file = `${document.body.dataset.name} ${name}`.toLowerCase().replace(/[^a-z0-9]+/g, "-");
  make("a", { download: `${file}.${kind.toLowerCase()}`, href }).click();
  setTimeout(() => URL.revokeObjectURL(href));
}, kind);
const field = cell => {
  const exact = cell.querySelector("data");
  const text = exact ? exact.value : cell.textContent.trim().replace(/\s+/g, " ").replace(/−(?=\d)/g, "-");
  return /[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};
const csv = table => [...table.rows].map(row => [...row.cells].map(field).join(",") + "\r\n").join("");
const drawing = svg => {
  const copy = svg.cloneNode(true);
  const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  all(copy, ".cross, .off").forEach(part => part.remove());
  const entries = all(svg.closest("[data-scope]"), ".key li").map((entry, index) => draw("g",
    { transform: `translate(${10 + index % 2 * width / 2} ${height + 4 + 18 * Math.floor(index / 2)})` },
    entry.querySelector("svg > g").cloneNode(true),
    draw("text", { x: 30, y: 11 }, entry.textContent.trim())));
  const whole = height + 10 + 18 * Math.ceil(entries.length / 2);
  copy.prepend(draw("title", {}, svg.getAttribute("aria-label")),
    draw("style", {}, document.getElementById("chart-style").textContent),
    draw("rect", { class: "ground", width, height: whole }));
  const seeds = svg.closest("section").classList.contains("seeds") ? " seeds" : "";
  filled(copy, { viewBox: `0 0 ${width} ${whole}`, width, height: whole, class: "standalone" + seeds }, entries);
  return new XMLSerializer().serializeToString(copy);
};
for (const svg of all(document, "figure > svg.chart")) {
  const saved = save("SVG", svg.getAttribute("aria-label"), "image/svg+xml", () => drawing(svg));
  svg.after(make("div", { class: "tools" }, saved));
}
for (const table of all(document, "table")) {
  const tools = table.closest("figure")?.querySelector(".tools");
  const saved = save("CSV", table.caption.textContent, "text/csv", () => csv(table));
  if (tools) tools.append(saved); else table.closest(".wide").before(saved);
}
