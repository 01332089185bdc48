// Figures as people read them.

export function number(value, digits = 3) {
  if (value === null || value === undefined) return "\u2013";
  if (typeof value === "string") return value;
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(2);
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(digits)));
}

export function milliseconds(value) {
  if (value === null || value === undefined) return "\u2013";
  return value >= 1000 ? `${number(value / 1000)} s` : `${number(value)} ms`;
}

export function bytes(value) {
  if (!value) return "\u2013";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const place = Math.min(units.length - 1, Math.floor(Math.log2(value) / 10));
  return `${number(value / 2 ** (10 * place))} ${units[place]}`;
}

export function percent(share) {
  return share === null || share === undefined ? "\u2013" : `${number(share * 100)} %`;
}

export function when(seconds) {
  if (!seconds) return "\u2013";
  const time = new Date(seconds * 1000);
  const day = new Date().toDateString() === time.toDateString() ? "" : `${time.toISOString().slice(0, 10)} `;
  return day + time.toLocaleTimeString("en-GB");
}

export function lasting(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} d`;
}
