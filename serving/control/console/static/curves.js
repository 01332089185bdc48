// Figures over time: charts where the gateway was built with the chart library, else tables.

import { h, table } from "./dom.js";
import { bytes, number, when } from "./format.js";

// What is drawn of each version: [field, word]; `nothing`: what stands where nobody asked; `of`: the
// answer's list; `holds`: a value holds until the next; `shown`: how a value is written.
const CHARTS = [
  { heading: "Requests a second", fields: [["request_rate", ""]], nothing: 0, of: "curves" },
  { heading: "Errors a second", fields: [["error_rate", ""]], nothing: 0, of: "curves" },
  { heading: "Latency (ms)", fields: [["p50_ms", "p50"], ["p99_ms", "p99"]], nothing: null, of: "curves" },
  { heading: "Rows a run", fields: [["batch_rows", ""]], nothing: null, of: "curves" },
  { heading: "Requests in line", fields: [["queue_requests", ""]], nothing: 0, of: "curves" },
  { heading: "Memory", fields: [["bytes", ""]], nothing: null, of: "memory", holds: true, shown: bytes },
];
const COLOURS = {
  light: ["#0a58b0", "#b34700", "#12692f", "#7a2f9e", "#8a6100", "#a8175f", "#00687a", "#4a5560"],
  dark: ["#7db7ff", "#ffab70", "#6fd18c", "#d3a4f5", "#e5c454", "#ff94c2", "#6fd3e3", "#c2cad3"],
};
const HEIGHT = 170;
// Between two lines of bytes.
const POWERS = Array.from({ length: 48 }, (_, place) => 2 ** place);
const SHOWN_ROWS = 30;
// Of a chart, while there is little to draw.
const FEWEST_STEPS = 60;

const dark = matchMedia("(prefers-color-scheme: dark)");

export class Curves {
  constructor(place) {
    this.place = place;
    this.plots = [];
    this.onSize = () => this.plots.forEach((one) => one.setSize({ width: one.root.parentNode.clientWidth, height: HEIGHT }));
    this.onTheme = () => this.redraw();
    addEventListener("resize", this.onSize);
    dark.addEventListener("change", this.onTheme);
  }

  redraw() {
    this.shape = null;
    if (this.last) this.draw(this.last);
  }

  close() {
    removeEventListener("resize", this.onSize);
    dark.removeEventListener("change", this.onTheme);
    this.clear();
  }

  clear() {
    this.plots.forEach((one) => one.destroy());
    this.plots = [];
  }

  // `found`: an answer of api/v1/curves.
  draw(found) {
    this.last = found;
    const versions = (curves) => curves.map((curve) => curve.version);
    const shape = `${found.span} ${versions(found.curves)} ${versions(found.memory)}`;
    if (this.plots.length && shape === this.shape) return this.renew(found);
    this.clear();
    this.shape = shape;
    const charts = this.charts = CHARTS.filter((chart) => found[chart.of].length);
    const words = remarks(found).map((text) => h("p", { class: "quiet" }, text));
    if (!globalThis.uPlot && charts.length) {
      this.place.replaceChildren(h("p", { class: "quiet" }, "This gateway was built without the chart library, so these are tables."),
        ...charts.map((chart) => asTable(chart, found)), ...words);
      return;
    }
    const figures = charts.map((chart) => figure(chart, found));
    this.place.replaceChildren(h("div", { class: "charts" }, figures.map(([node]) => node)), ...words);
    this.plots = figures.map(([node, options, data]) => new uPlot({ ...options, width: node.clientWidth - 16 }, data, node.querySelector(".plot")));
  }

  // The same curves, some seconds later: whoever points at one, or reads a table, goes on doing so.
  renew(found) {
    this.charts.forEach((chart, place) => {
      const plot = this.plots[place];
      plot.setData(aligned(chart, found));
      plot.root.closest("figure").querySelector("details").lastChild.replaceWith(asTable(chart, found));
    });
  }
}

function remarks(found) {
  const words = [];
  if (!found.curves.length) {
    words.push(found.span === "1h" ? "Nobody asked this model in the last hour."
      : "Nothing is known of the last day's requests yet: a point covers two minutes.");
  }
  const guessed = found.memory.filter((one) => !one.measured).map((one) => one.version);
  if (guessed.length) {
    words.push(`Memory of version ${guessed.join(", ")}: an estimate, as versions in the gateway's own process can't be told apart.`);
  }
  return words;
}

function figure(chart, found) {
  const node = h("figure", { class: "chart" }, h("figcaption", null, chart.heading), h("div", { class: "plot", "aria-hidden": "true" }),
    h("details", null, h("summary", null, `${chart.heading} as a table`), asTable(chart, found)));
  return [node, options(chart, found), aligned(chart, found)];
}

function steps(found, curves) {
  const last = Math.floor(found.end / found.step_s) * found.step_s;
  const first = Math.min(...curves.map((curve) => curve.at[0]));
  const since = Math.round((last - first) / found.step_s) + 2;
  const count = Math.min(found.span === "1h" ? 360 : 720, Math.max(FEWEST_STEPS, since));
  return Array.from({ length: count }, (_, place) => last - (count - 1 - place) * found.step_s);
}

function aligned({ fields, nothing, of, holds }, found) {
  const times = steps(found, found[of]);
  const rows = found[of].flatMap((curve) => {
    if (holds) return fields.map(([field]) => held(times, curve.at, curve[field]));
    const places = new Map(curve.at.map((at, place) => [at, place]));
    return fields.map(([field]) => times.map((at) => {
      const place = places.get(at);
      return place === undefined ? nothing : curve[field][place];
    }));
  });
  return [times, ...rows];
}

// 0: there was none of it, and no line.
function held(times, at, values) {
  let place = 0;
  return times.map((time) => {
    while (place < at.length && at[place] <= time) place += 1;
    return (place && values[place - 1]) || null;
  });
}

// The same version has the same colour in every chart.
function colourOf(version, found, colours) {
  const all = [...new Set([...found.curves, ...found.memory].map((curve) => curve.version))].sort((one, other) => one - other);
  return colours[all.indexOf(version) % colours.length];
}

function options({ fields, of, shown = number }, found) {
  const style = getComputedStyle(document.documentElement);
  const quiet = style.getPropertyValue("--quiet").trim();
  const line = style.getPropertyValue("--line").trim();
  const colours = COLOURS[dark.matches ? "dark" : "light"];
  const series = found[of].flatMap((curve) => fields.map(([, word], which) => ({
    label: `version ${curve.version}${word ? ` ${word}` : ""}`,
    stroke: colourOf(curve.version, found, colours),
    width: 1.5,
    dash: which ? [4, 3] : [],
    points: { size: 4 },
    value: (_, value) => shown(value),
  })));
  const amounts = shown === number ? { size: 55 } : { size: 75, incrs: POWERS };
  const axis = { stroke: quiet, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
  return {
    height: HEIGHT,
    series: [{ label: "at", value: (_, at) => when(at) }, ...series],
    axes: [{ ...axis, values: (_, ticks) => ticks.map(clock) }, { ...axis, ...amounts, values: (_, ticks) => ticks.map((one) => (one ? shown(one) : "0")) }],
    scales: { y: { range: (_, least, most) => [0, most > 0 ? most * 1.1 : 1] } },
    cursor: { drag: { x: false, y: false } },
  };
}

function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
}

function asTable({ heading, fields, of, shown = number }, found) {
  const curves = found[of];
  const columns = [["At", "time"], ...curves.flatMap((curve) => fields.map(([, word]) => [`version ${curve.version} ${word}`, "number"]))];
  const times = [...new Set(curves.flatMap((curve) => curve.at))].sort((one, other) => other - one).slice(0, SHOWN_ROWS);
  const rows = times.map((at) => [when(at), ...curves.flatMap((curve) => {
    const place = curve.at.indexOf(at);
    return fields.map(([field]) => shown(place < 0 ? null : curve[field][place]));
  })]);
  return table(`${heading}, the newest first`, columns, rows, "Nothing yet.");
}
