"use strict";

SwaggerUIBundle({
  url: description,
  dom_id: "#docs",
  presets: [SwaggerUIBundle.presets.apis],
  // Nothing is asked of anybody else.
  validatorUrl: null,
  queryConfigEnabled: false,
  deepLinking: true,
  docExpansion: model ? "full" : "list",
  defaultModelsExpandDepth: -1,
  tryItOutEnabled: true,
});
