// Shows the OpenAPI description by Swagger UI, whose calls are sent with the session of who is signed in.
"use strict";

(async () => {
  const { openapi, workspace, token } = document.getElementById("reference").dataset;
  const root = document.documentElement;
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const paint = () => root.classList.toggle("dark-mode", root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches);
  new MutationObserver(paint).observe(root, { attributeFilter: ["data-theme"] });
  prefersDark.addEventListener("change", paint);
  paint();

  const spec = await (await fetch(openapi)).json();
  const calls = Object.values(spec.paths).flatMap(Object.values);
  for (const each of calls.flatMap((call) => call.parameters ?? [])) if (each.name === "workspaceId") each.schema.default = workspace;
  SwaggerUIBundle({
    spec,
    dom_id: "#reference",
    deepLinking: true,
    validatorUrl: null,  // the default one is a service on the internet
    tryItOutEnabled: Boolean(token),
    displayRequestDuration: true,
    showMutatedRequest: false,  // the token is of no use in a command
    requestInterceptor: (request) => {
      const names = Object.keys(request.headers).map((name) => name.toLowerCase());
      const hasKey = names.includes("x-api-key") || names.includes("authorization");
      if (token && !hasKey && new URL(request.url, location).origin === location.origin) request.headers["x-callboard-token"] = token;
      return request;
    },
  });
})();
