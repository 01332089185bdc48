// The page without Swagger UI: every call of the description, with a body to send.
"use strict";

function add(parent, tag, text) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  parent.append(made);
  return made;
}

// A path whose parameters are filled in by whoever reads it.
function filled(path, inputs) {
  return path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(inputs[name].value));
}

async function send(method, path, body, output) {
  output.textContent = "...";
  try {
    const headers = body === null ? {} : { "Content-Type": "application/json" };
    const answer = await fetch(path.slice(1), { method, headers, body });
    output.textContent = `${answer.status} ${answer.statusText}\n${await answer.text()}`;
  } catch (error) {
    output.textContent = String(error);
  }
}

function show(parent, path, method, call, shared) {
  const box = add(parent, "details");
  add(box, "summary", `${method.toUpperCase()} ${path} \u2013 ${call.summary}`);
  if (call.description) add(box, "p", call.description);
  const inputs = {};
  for (const one of [...shared, ...(call.parameters || [])]) {
    if (one.in !== "path") continue;
    const label = add(box, "label", `${one.name} `);
    inputs[one.name] = add(label, "input");
    inputs[one.name].value = one.example || "";
  }
  let body = null;
  if (call.requestBody) {
    const json = call.requestBody.content["application/json"];
    body = add(box, "textarea");
    body.rows = 8;
    body.value = JSON.stringify(json.example || {}, null, 2);
  }
  const button = add(box, "button", "Send");
  const output = add(box, "pre");
  button.addEventListener("click", () => {
    send(method.toUpperCase(), filled(path, inputs), body && body.value, output);
  });
}

fetch(description)
  .then((answer) => answer.json())
  .then((found) => {
    const page = document.getElementById("docs");
    if (found.error) throw new Error(found.error);
    add(page, "h1", `${found.info.title} ${found.info.version}`);
    add(page, "p", found.info.description);
    for (const [path, item] of Object.entries(found.paths)) {
      for (const method of ["get", "post"]) {
        if (item[method]) show(page, path, method, item[method], item.parameters || []);
      }
    }
  })
  .catch((error) => {
    document.getElementById("docs").textContent = String(error);
  });
