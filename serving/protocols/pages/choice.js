// Which model is described: what stands behind the address, and the choice at the top.
"use strict";

const model = new URLSearchParams(location.search).get("model") || "";
const description = model
  ? `v2/models/${encodeURIComponent(model)}/openapi.json`
  : "openapi.json";

document.getElementById("source").href = description;

const choice = document.getElementById("model");
choice.addEventListener("change", () => {
  location.search = choice.value ? `?model=${encodeURIComponent(choice.value)}` : "";
});

fetch("v2/models")
  .then((answer) => answer.json())
  .then((found) => {
    for (const name of found.models) {
      const option = new Option(name, name, false, name === model);
      choice.add(option);
    }
  })
  .catch(() => {
    choice.disabled = true;
  });
