// Small drawings for which no library is needed.

import { h, svg } from "./dom.js";
import { number, percent, when } from "./format.js";

const WIDTH = 320;
const HEIGHT = 90;
const LOW = 74;
// Others' files may have any number of buckets; a drawing of so many shows nothing.
const MOST_BUCKETS = 1000;

// A run's cost by its rows, as warm-up measured it.
export function costCurve(cost, maxRows) {
  const most = Math.max(2, maxRows || cost.best_rows || 2);
  const time = (rows) => (cost.fixed_s + cost.per_row_s * rows) * 1e3;
  const x = (rows) => 8 + ((rows - 1) / (most - 1)) * (WIDTH - 16);
  const y = (ms) => LOW - (ms / time(most)) * (LOW - 16);
  const words = `1 row ${number(time(1))} ms, ${most} rows ${number(time(most))} ms`;
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `Cost of a run: ${words}` },
    svg("line", { class: "axis", x1: 8, x2: WIDTH - 8, y1: LOW, y2: LOW }),
    svg("polyline", { class: "line", points: `${x(1)},${y(time(1))} ${x(most)},${y(time(most))}` }),
    cost.best_rows ? svg("circle", { class: "fill-one", cx: x(Math.min(most, cost.best_rows)), cy: y(time(Math.min(most, cost.best_rows))), r: 3.5 }) : null,
    svg("text", { x: 8, y: 88 }, "1 row"), svg("text", { x: WIDTH - 8, y: 88, "text-anchor": "end" }, `${most} rows`),
    svg("text", { x: 8, y: 12 }, words));
}

// Two histograms over the same range: `live` filled, `base` (may be null) as a line. Buckets:
// { low, high, share }, shares of 1.
export function histogram(live, base, label) {
  // Infinite bounds, as files of others may have them, are drawn nowhere.
  const finite = (buckets) => buckets.filter((one) => Number.isFinite(one.low) && Number.isFinite(one.high));
  const [now, before] = [finite(live), base && finite(base)];
  if (now.length > MOST_BUCKETS) return h("p", { class: "quiet" }, `${number(now.length)} buckets are too many to draw.`);
  if (before && before.length > MOST_BUCKETS) return histogram(live, null, label);
  const all = [...now, ...(before || [])];
  if (!all.length) return h("p", { class: "quiet" }, "No values.");
  const low = Math.min(...all.map((one) => one.low));
  const high = Math.max(...all.map((one) => one.high));
  // Halves: the largest numbers are further apart than a number can say.
  const span = high / 2 - low / 2 || 1;
  // Buckets need not be equally wide: what is drawn is their density.
  const density = (one) => one.share / Math.max((one.high / 2 - one.low / 2) / span, 0.004);
  const most = Math.max(...all.map(density)) || 1;
  const x = (value) => 8 + ((value / 2 - low / 2) / span) * (WIDTH - 16);
  const y = (one) => LOW - (density(one) / most) * (LOW - 6);
  const bars = now.map((one) => svg("rect", { class: "fill-one", x: x(one.low), y: y(one),
    width: Math.max(1.5, x(one.high) - x(one.low) - 0.5), height: LOW - y(one) }));
  const outline = before && before.map((one) => `${x(one.low)},${y(one)} ${x(one.high)},${y(one)}`).join(" ");
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label }, bars,
    outline ? svg("polyline", { class: "fill-two", points: outline }) : null,
    svg("line", { class: "axis", x1: 8, x2: WIDTH - 8, y1: LOW, y2: LOW }),
    svg("text", { x: 8, y: 88 }, number(low)), svg("text", { x: WIDTH - 8, y: 88, "text-anchor": "end" }, number(high)));
}

// Shares of the most frequent values: [{ value, live, base }].
export function bars(rows, label) {
  const most = Math.max(...rows.flatMap((one) => [one.live, one.base || 0])) || 1;
  const height = rows.length * 16 + 4;
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": label }, rows.flatMap((one, place) => {
    const y = place * 16 + 2;
    const width = (share) => (share / most) * 190;
    const words = one.value.length > 16 ? `${one.value.slice(0, 15)}\u2026` : one.value;
    return [
      svg("text", { x: 112, y: y + 11, "text-anchor": "end" }, svg("title", null, `${one.value}: ${percent(one.live)}`), words),
      svg("rect", { class: "fill-one", x: 118, y: y + 2, width: width(one.live), height: 10 }),
      one.base === null ? null : svg("rect", { class: "fill-two", x: 118, y: y + 2, width: width(one.base), height: 10 }),
    ];
  }).filter((one) => one !== null));
}

// A value over time: [{ at, value }], oldest first.
export function timeline(points, label) {
  const begin = points[0].at;
  const span = points.at(-1).at - begin || 1;
  const most = Math.max(...points.map((one) => one.value)) || 1;
  const x = (at) => 8 + ((at - begin) / span) * (WIDTH - 16);
  const y = (value) => LOW - (value / most) * (LOW - 18);
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label },
    svg("line", { class: "axis", x1: 8, x2: WIDTH - 8, y1: LOW, y2: LOW }),
    svg("polyline", { class: "line", points: points.map((one) => `${x(one.at)},${y(one.value)}`).join(" ") }),
    svg("text", { x: 8, y: 12 }, `at most ${number(most)}`),
    svg("text", { x: 8, y: 88 }, when(begin)), svg("text", { x: WIDTH - 8, y: 88, "text-anchor": "end" }, when(points.at(-1).at)));
}
