// Which page is shown, by what stands behind the address's #, and what is live.

import { h, show } from "./dom.js";
import { note } from "./judge_log.js";
import { Overview } from "./overview.js";
import { Model } from "./model.js";
import { Rollouts } from "./rollouts.js";
import { Try } from "./try.js";
import { Stream } from "./stream.js";

const main = document.getElementById("main");
const connection = document.getElementById("connection");
let page = null;

// [pattern, page]; what the pattern catches are its arguments.
const PAGES = [
  [/^#\/models\/([^/?]+)$/, Model],
  [/^#\/rollouts$/, Rollouts],
  [/^#\/try(?:\/([^/]+)(?:\/(\d+))?)?$/, Try],
  [/^(?:#\/?(?:\?.*)?)?$/, Overview],
];

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function turn() {
  page?.leave?.();
  const address = location.hash;
  for (const [pattern, Page] of PAGES) {
    const found = pattern.exec(address);
    if (!found) continue;
    page = new Page(main, ...found.slice(1).map((one) => one === undefined ? "" : decoded(one)));
    mark(address);
    main.focus({ preventScroll: true });
    page.open();
    return;
  }
  page = null;
  show(main, h("h1", null, "There is no such page"), h("p", null, h("a", { href: "#/" }, "Overview")));
}

function mark(address) {
  for (const link of document.querySelectorAll("nav a")) {
    const own = link.getAttribute("href");
    const here = own === "#/" ? /^(#\/?(\?.*)?)?$/.test(address) : address.startsWith(own);
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

let lost = false;
new Stream(
  (kind, data) => {
    if (kind === "rollouts") data.rollouts.forEach(note);
    page?.heard?.(kind, data);
  },
  (up, why) => {
    connection.textContent = up ? "live" : `not live: ${why}`;
    connection.className = up ? "state good" : "state bad";
    if (up && lost) page?.open();
    lost = !up;
  },
).run();

addEventListener("hashchange", turn);
turn();
