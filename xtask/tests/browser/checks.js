// The checks of a page after its script has run, sent to its frame: the layout, and what happens when a reader points at
// a curve, hides it, or saves it.
const all = query => [...document.querySelectorAll(query)];
const box = element => element.getBoundingClientRect();

const layout = () => {
  const drawings = all("svg[role=img], img");
  const named = element =>
    element.textContent.trim() || ["aria-label", "aria-labelledby"].some(name => element.getAttribute(name)) || element.labels?.length;
  return {
    width: innerWidth,
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    drawings: drawings.length,
    empty: drawings.filter(drawing => box(drawing).width < 50 || box(drawing).height < 30).length,
    nameless: all("a, summary, button, input, [tabindex]")
      .filter(element => !element.closest("[aria-hidden=true]") && !named(element)).length,
    outside: all("svg[role=img] text").filter(text => {
      const [own, whole] = [box(text), box(text.ownerSVGElement)];
      return own.left < whole.left - 2 || own.right > whole.right + 2 || own.top < whole.top - 2 || own.bottom > whole.bottom + 2;
    }).map(text => text.textContent),
    // Two names on one line that cover each other.
    covered: all("svg[role=img]").filter(drawing => {
      const texts = [...drawing.querySelectorAll("text")].map(box);
      return texts.some((one, index) => texts.slice(index + 1).some(other =>
        one.left < other.right - 1 && other.left < one.right - 1 && one.top < other.bottom - 3 && other.top < one.bottom - 3));
    }).map(drawing => drawing.getAttribute("aria-label")),
    ground: getComputedStyle(document.body).backgroundColor,
  };
};

// The tooltip after an arrow key in each drawing, with the values of the mark that it is about.
const hovered = () => all("svg.chart").map(svg => {
  svg.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
  const tip = document.querySelector(".tip");
  const shown = tip.hidden ? [] : [...tip.children].map(line => line.textContent);
  const cross = svg.querySelector(".cross").getAttribute("d") !== null;
  const area = box(tip);
  const inside = area.left >= 0 && area.right <= innerWidth + 1;
  svg.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
  const rows = [...svg.closest("figure").querySelectorAll("tbody tr")].map(row =>
    [row.cells[0].textContent, ...[...row.querySelectorAll("data")].map(data => data.value)]);
  return { kind: svg.dataset.hover, percent: "percent" in svg.dataset, shown, cross, inside, hidden: tip.hidden, rows };
});

// The numbers of hidden curves when the first entry of each key is pressed, and when it is pressed again.
const toggled = () => all("[data-scope]").map(scope => {
  const button = scope.querySelector(".key button");
  const off = () => [scope.querySelectorAll(".off").length, button.getAttribute("aria-pressed")];
  const before = off();
  button.click();
  const pressed = off();
  button.click();
  return [before, pressed, off()];
});

// Whether lines of single seeds are shown before and after their box is checked.
const seeds = () => all("section").filter(section => section.querySelector(".seed")).map(section => {
  const shown = () => getComputedStyle(section.querySelector(".seed")).display !== "none";
  const before = shown();
  section.querySelector("input[type=checkbox]").click();
  return [before, shown()];
});

// What every button saves, with the table or the drawing it stands for.
const saved = async () => {
  const blobs = [];
  URL.createObjectURL = blob => (blobs.push(blob), "blob:none");
  HTMLAnchorElement.prototype.click = function () { blobs.names = [...(blobs.names ?? []), this.download]; };
  all("button.save").forEach(button => button.click());
  const texts = await Promise.all(blobs.map(blob => blob.text()));
  const tables = all("table").map(table => ({
    csv: texts[blobs.findIndex((_, index) => all("button.save")[index].getAttribute("aria-label") === "Download CSV: " + table.caption.textContent)],
    cells: [...table.rows].map(row => [...row.cells].map(cell => cell.querySelector("data")?.value ?? cell.textContent.trim())),
    shown: [...table.rows].map(row => [...row.cells].map(cell => cell.textContent.trim())),
  }));
  const drawings = texts.filter((_, index) => blobs[index].type === "image/svg+xml").map(text => {
    const parsed = new DOMParser().parseFromString(text, "image/svg+xml");
    const root = parsed.documentElement;
    return {
      whole: root.localName === "svg" && !parsed.querySelector("parsererror") && !!root.getAttribute("width"),
      style: root.querySelector("style")?.textContent.includes("--seq-0") ?? false,
      marks: root.querySelectorAll(".mark").length,
      outside: /(href|src)=/.test(text),
    };
  });
  return { names: blobs.names ?? [], tables, drawings };
};

addEventListener("load", async () => {
  const answer = { ...layout(), hovered: hovered(), toggled: toggled(), saved: await saved(), seeds: seeds() };
  parent.postMessage(JSON.stringify(answer), "*");
});
