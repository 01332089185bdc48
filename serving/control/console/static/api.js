// Calls of the admin port. The token, where one is needed, is asked for once and kept in this tab.

const KEY = "serving-token";
// What a header takes: anything else could not be sent, and no call would ever be answered again.
const SENDABLE = /^[\x21-\x7e]+$/;
let asking = null;
let declined = false;

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

function headers(more) {
  const token = sessionStorage.getItem(KEY);
  return { ...more, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
}

// One dialog at a time, however many calls were refused. Whether there is a token to try.
function askToken(why) {
  asking ||= new Promise((resolve) => {
    const dialog = document.getElementById("token");
    const field = document.getElementById("token-value");
    document.getElementById("token-why").firstChild.textContent = why === null
      ? "Control calls on this port need the token of the setting " : `${why}. It is that of the setting `;
    field.value = "";
    dialog.returnValue = "cancel";
    dialog.addEventListener("close", () => {
      const given = dialog.returnValue === "ok" && field.value.trim();
      field.value = "";
      asking = null;
      declined = !given;
      if (given && !SENDABLE.test(given)) return resolve(askToken("A token has visible ASCII characters alone"));
      if (given) sessionStorage.setItem(KEY, given);
      resolve(Boolean(given));
    }, { once: true });
    dialog.showModal();
    field.focus();
  });
  return asking;
}

// Resolves to the answer itself; raises Refused with what was said, TypeError where nobody answers.
// `byItself`: nobody waits for it, so it does not ask for the token again once that was called off.
export async function ask(path, { byItself = false, ...options } = {}) {
  const used = sessionStorage.getItem(KEY);
  const answer = await fetch(path, { cache: "no-store", ...options, headers: headers(options.headers) });
  if (answer.status === 401) {
    const newer = sessionStorage.getItem(KEY) !== used;
    const again = newer || (!(byItself && declined) && await askToken(used ? "The token is not the right one" : null));
    if (again) return ask(path, { byItself, ...options });
  }
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({}));
    throw new Refused(answer.status, said.error || `${answer.status} ${answer.statusText}`);
  }
  return answer;
}

export async function get(path) {
  return (await ask(path)).json();
}

export async function post(path, body) {
  const answer = await ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  return answer.json();
}

export function modelPath(name, rest = "") {
  return `api/v1/models/${encodeURIComponent(name)}${rest}`;
}
