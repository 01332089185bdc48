// Server-sent events by fetch, which can bring the token: EventSource can't.

import { ask } from "./api.js";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10000;

export class Stream {
  constructor(onEvent, onState) {
    this.onEvent = onEvent;
    this.onState = onState;
    this.wait = FIRST_WAIT_MS;
    addEventListener("pagehide", () => this.abort?.abort());
  }

  async run() {
    for (;;) {
      let why = "the gateway does not answer";
      try {
        await this.follow();
      } catch (error) {
        if (error.status) why = error.message;
      }
      this.onState(false, why);
      await new Promise((resolve) => setTimeout(resolve, this.wait));
      this.wait = Math.min(LONGEST_WAIT_MS, this.wait * 2);
    }
  }

  async follow() {
    this.abort = new AbortController();
    const answer = await ask("api/v1/events/stream", { byItself: true, signal: this.abort.signal });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let silent = null;
    const heard = (most) => {
      clearTimeout(silent);
      silent = setTimeout(() => this.abort.abort(), most);
    };
    let patience = 60000;
    let rest = "";
    try {
      for (;;) {
        heard(patience);
        const { value, done } = await reader.read();
        if (done) return;
        const parts = (rest + value).split("\n\n");
        rest = parts.pop();
        for (const part of parts) {
          const found = parsed(part);
          if (found === null) continue;
          if (found.kind === "hello") {
            patience = found.data.heartbeat_s * 3000;
            this.wait = FIRST_WAIT_MS;
            this.onState(true, "");
          }
          this.onEvent(found.kind, found.data);
        }
      }
    } finally {
      clearTimeout(silent);
    }
  }
}

function parsed(text) {
  const fields = Object.fromEntries(text.split("\n").map((line) => {
    const place = line.indexOf(": ");
    return [line.slice(0, place), line.slice(place + 2)];
  }));
  return fields.event ? { kind: fields.event, data: JSON.parse(fields.data) } : null;
}
