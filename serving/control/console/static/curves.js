// Figures over time: charts where the gateway was built with the chart library, else tables.

import { h, table } from "./dom.js";
import { number, when } from "./format.js";

// Heading, what is drawn of each version: [field, word], and what stands where nobody asked.
const CHARTS = [
  ["Requests a second", [["request_rate", ""]], 0],
  ["Errors a second", [["error_rate", ""]], 0],
  ["Latency (ms)", [["p50_ms", "p50"], ["p99_ms", "p99"]], null],
  ["Rows a run", [["batch_rows", ""]], null],
  ["Requests in line", [["queue_requests", ""]], 0],
];
const COLOURS = {
  light: ["#0a58b0", "#b34700", "#12692f", "#7a2f9e", "#8a6100", "#a8175f", "#00687a", "#4a5560"],
  dark: ["#7db7ff", "#ffab70", "#6fd18c", "#d3a4f5", "#e5c454", "#ff94c2", "#6fd3e3", "#c2cad3"],
};
const HEIGHT = 170;
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
    const shape = `${found.span} ${found.curves.map((curve) => curve.version)}`;
    if (this.plots.length && shape === this.shape) return this.renew(found);
    this.clear();
    this.shape = shape;
    if (!found.curves.length) {
      this.place.replaceChildren(h("p", { class: "quiet" }, found.span === "1h"
        ? "Nobody asked this model in the last hour." : "Nothing is known of the last day yet: a point covers two minutes."));
      return;
    }
    if (!globalThis.uPlot) {
      this.place.replaceChildren(h("p", { class: "quiet" }, "This gateway was built without the chart library, so these are tables."),
        ...CHARTS.map((chart) => asTable(chart, found)));
      return;
    }
    const figures = CHARTS.map((chart) => figure(chart, found));
    this.place.replaceChildren(h("div", { class: "charts" }, figures.map(([node]) => node)));
    this.plots = figures.map(([node, options, data]) => new uPlot({ ...options, width: node.clientWidth - 16 }, data, node.querySelector(".plot")));
  }

  // The same curves, some seconds later: whoever points at one, or reads a table, goes on doing so.
  renew(found) {
    CHARTS.forEach(([heading, fields, nothing], place) => {
      const plot = this.plots[place];
      plot.setData(aligned(fields, nothing, found));
      plot.root.closest("figure").querySelector("details").lastChild.replaceWith(asTable([heading, fields], found));
    });
  }
}

function figure([heading, fields, nothing], found) {
  const node = h("figure", { class: "chart" }, h("figcaption", null, heading), h("div", { class: "plot", "aria-hidden": "true" }),
    h("details", null, h("summary", null, `${heading} as a table`), asTable([heading, fields], found)));
  return [node, options(fields, found), aligned(fields, nothing, found)];
}

function steps(found) {
  const last = Math.floor(found.end / found.step_s) * found.step_s;
  const first = Math.min(...found.curves.map((curve) => curve.at[0]));
  const since = Math.round((last - first) / found.step_s) + 2;
  const count = Math.min(found.span === "1h" ? 360 : 720, Math.max(FEWEST_STEPS, since));
  return Array.from({ length: count }, (_, place) => last - (count - 1 - place) * found.step_s);
}

function aligned(fields, nothing, found) {
  const times = steps(found);
  const rows = found.curves.flatMap((curve) => {
    const places = new Map(curve.at.map((at, place) => [at, place]));
    return fields.map(([field]) => times.map((at) => {
      const place = places.get(at);
      return place === undefined ? nothing : curve[field][place];
    }));
  });
  return [times, ...rows];
}

function options(fields, found) {
  const style = getComputedStyle(document.documentElement);
  const quiet = style.getPropertyValue("--quiet").trim();
  const line = style.getPropertyValue("--line").trim();
  const colours = COLOURS[dark.matches ? "dark" : "light"];
  const series = found.curves.flatMap((curve, place) => fields.map(([, word], which) => ({
    label: `version ${curve.version}${word ? ` ${word}` : ""}`,
    stroke: colours[place % colours.length],
    width: 1.5,
    dash: which ? [4, 3] : [],
    points: { size: 4 },
    value: (_, value) => number(value),
  })));
  const axis = { stroke: quiet, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
  return {
    height: HEIGHT,
    series: [{ label: "at", value: (_, at) => when(at) }, ...series],
    axes: [{ ...axis, values: (_, ticks) => ticks.map(clock) }, { ...axis, size: 55, values: (_, ticks) => ticks.map((one) => number(one)) }],
    scales: { y: { range: (_, least, most) => [0, most > 0 ? most * 1.1 : 1] } },
    cursor: { drag: { x: false, y: false } },
  };
}

function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
}

function asTable([heading, fields], found) {
  const columns = [["At", "time"], ...found.curves.flatMap((curve) => fields.map(([, word]) => [`version ${curve.version} ${word}`, "number"]))];
  const times = [...new Set(found.curves.flatMap((curve) => curve.at))].sort((one, other) => other - one).slice(0, SHOWN_ROWS);
  const rows = times.map((at) => [when(at), ...found.curves.flatMap((curve) => {
    const place = curve.at.indexOf(at);
    return fields.map(([field]) => number(place < 0 ? null : curve[field][place]));
  })]);
  return table(`${heading}, the newest first`, columns, rows, "Nothing yet.");
}
