// Rollouts: the judge's figures as they come in, and what can be done about them.

import { get, modelPath, post } from "./api.js";
import { facts, h, show, state, table, wrong } from "./dom.js";
import { lasting, number, percent, when } from "./format.js";
import { judgeLog } from "./judge_log.js";

const UNDER_WAY = ["waiting", "running", "paused"];
// What the gateway takes in which phase.
const VERBS = [
  ["pause", "Pause", ["running"]],
  ["resume", "Resume", ["paused"]],
  ["promote", "Promote now", ["running", "paused"]],
  ["abort", "Abort", UNDER_WAY],
];

export class Rollouts {
  constructor(place) {
    this.place = place;
  }

  async open() {
    document.title = "Rollouts \u2013 Console";
    this.list ||= h("div");
    show(this.place, h("h1", null, "Rollouts"), this.list);
    try {
      const found = await get("api/v1/rollouts");
      if (this.left) return;
      this.all = found.rollouts;
      this.draw();
    } catch (error) {
      if (!this.left) show(this.list, wrong(error));
    }
  }

  leave() {
    this.left = true;
  }

  // What is under way comes along; what has ended since is asked for.
  heard(kind, data) {
    if (kind !== "rollouts" || !this.all) return;
    const now = new Map(data.rollouts.map((one) => [one.model, one]));
    const ended = this.all.some((one) => UNDER_WAY.includes(one.phase) && !now.has(one.model));
    const begun = data.rollouts.some((one) => !this.all.some((known) => known.model === one.model));
    if (ended || begun || data.more) return this.open();
    this.all = this.all.map((one) => now.get(one.model) || one);
    this.draw();
  }

  draw() {
    const sorted = [...this.all].sort((one, other) => (UNDER_WAY.includes(other.phase) - UNDER_WAY.includes(one.phase)) || other.changed - one.changed);
    if (!sorted.length) {
      show(this.list, h("p", { class: "quiet" }, "No rollout has been started yet: POST api/v1/models/NAME/rollout/start, or serving rollout start."));
      return;
    }
    show(this.list, sorted.map((one) => rolloutCard(one, true)));
  }
}

export function rolloutCard(one, named) {
  const said = h("p", { role: "status" });
  const heading = named ? [h("a", { href: `#/models/${encodeURIComponent(one.model)}` }, one.model), ": "] : ["Rollout: "];
  const under = UNDER_WAY.includes(one.phase);
  return h("section", { "aria-label": `Rollout of ${one.model}` },
    h("h2", null, heading, `version ${one.version} in place of ${one.base} `, state(one.phase)),
    h("p", null, one.reason),
    under ? h("p", null, h("progress", { max: 100, value: one.share, "aria-label": `Share of version ${one.version}` }), ` ${one.share} % of the requests`) : null,
    facts([
      ["Step", `${one.step} of ${one.steps.length} (${one.steps.join(", ")} %)`],
      ["In this step", `${lasting(one.spent)} of ${lasting(one.every)}`],
      ["Answered in it", `${one.answered} of ${one.min_requests}`],
      ["Proof that it is sound", percent(one.proof)],
      ["Started", when(one.started)],
      ["By", one.by || "\u2013"],
    ]),
    table("What the judge has seen", [["Version"], ["Requests", "number"], ["Errors", "words"], ["With NaN or infinity", "number"]],
      [[`${one.version} (new)`, one.canary], [`${one.base}`, one.base_answers]].map(([name, answers]) =>
        [name, String(answers.requests), Object.entries(answers.errors).map(([kind, count]) => `${kind} ${count}`).join(", ") || "none",
          answers.inspected ? `${answers.nonfinite} of ${answers.inspected}` : "\u2013"]), ""),
    drifts(one),
    judgeLog(one),
    under ? h("p", { class: "buttons" }, VERBS.map(([verb, words, phases]) =>
      h("button", { disabled: !phases.includes(one.phase), "data-key": `${one.model} ${verb}`, "data-verb": verb,
        onclick: () => act(one, verb, words, said) }, words))) : null,
    said);
}

// How far both versions are apart in what they are asked and answer, where that is looked at.
function drifts(one) {
  const found = Object.entries(one.drift || {}).filter(([, what]) => what);
  if (!found.length) return null;
  return table("How far both versions are apart", [["Compared"], ["Apart", "number"], ["Of it by chance", "number"], ["Allowed", "number"], ["Answers", "number"]],
    found.map(([name, what]) => [what.feature ? `${name}: ${what.feature}` : name, number(what.apart), number(what.chance), number(what.allowed), `${what.answers} of ${what.needed}`]), "");
}

async function act(one, verb, words, said) {
  const reason = await sure(`${words}: version ${one.version} of ${one.model}`, words);
  if (reason === null) return;
  said.className = "";
  said.textContent = "Asking \u2026";
  try {
    const answer = await post(modelPath(one.model, `/rollout/${verb}`), { reason });
    said.textContent = answer.done ? `Done: ${answer.rollout.phase}.` : "Under way.";
  } catch (error) {
    said.className = "bad";
    said.textContent = error.status ? error.message : "The gateway does not answer.";
  }
}

// The reason that was given, null where it was called off. The browser tells of a dialog's end a
// little later: the next one waits for that.
let before = Promise.resolve();
function sure(question, words) {
  before = before.then(() => asked(question, words));
  return before;
}

function asked(question, words) {
  const dialog = document.getElementById("sure");
  const reason = document.getElementById("sure-reason");
  document.getElementById("sure-title").textContent = question;
  document.getElementById("sure-ok").textContent = words;
  reason.value = "";
  dialog.returnValue = "cancel";
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "ok" ? reason.value : null), { once: true });
    dialog.showModal();
  });
}
