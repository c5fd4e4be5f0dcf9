"use strict";

// The address is relative to /docs. Without validatorUrl the page would call Swagger's own server.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
});
