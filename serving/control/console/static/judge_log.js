// What a rollout's judge saw, as it came in while this tab was open: a line for each change.

import { h, table } from "./dom.js";
import { percent, when } from "./format.js";

const MOST_LINES = 60;
const MOST_ROLLOUTS = 50;
// Model -> { began, lines }, the newest first; the one that was noted last is last.
const logs = new Map();

function lineOf(one) {
  const seen = (answers) => {
    const wrong = Object.values(answers.errors).reduce((sum, count) => sum + count, answers.nonfinite);
    return [String(answers.requests), String(wrong)];
  };
  return [one.phase, `${one.share} %`, String(one.answered), ...seen(one.canary), ...seen(one.base_answers), percent(one.proof)];
}

// `one`: a rollout as the gateway tells it, by the stream or asked for.
export function note(one) {
  const known = logs.get(one.model);
  const log = known?.began === one.started ? known : { began: one.started, lines: [] };
  logs.delete(one.model);
  logs.set(one.model, log);
  if (logs.size > MOST_ROLLOUTS) logs.delete(logs.keys().next().value);
  const line = lineOf(one);
  if (log.lines.length && String(log.lines[0].line) === String(line)) return log.lines;
  log.lines = [{ at: Date.now() / 1000, line }, ...log.lines].slice(0, MOST_LINES);
  return log.lines;
}

export function judgeLog(one) {
  const rows = note(one).map(({ at, line }) => [when(at), ...line]);
  return h("details", { class: "log" }, h("summary", { "data-key": `${one.model} log` }, "As it came in"),
    table("What the judge saw since this tab is open, the newest first", [["At", "time"], ["Phase"], ["Share", "number"], ["In this step", "number"],
      ["New: requests", "number"], ["wrong", "number"], ["Old: requests", "number"], ["wrong", "number"], ["Proof", "number"]], rows, ""));
}
