// The OpenAPI document of this server, laid out.

import { ask, make } from "./api.js";

const text = (value) => JSON.stringify(value, null, 2);

// A schema with the ones that it refers to put in their places.
function whole(schema, document, depth = 0) {
  if (Array.isArray(schema)) return schema.map((each) => whole(each, document, depth));
  if (schema === null || typeof schema !== "object") return schema;
  if (schema.$ref && depth < 6) {
    const found = schema.$ref.slice(2).split("/").reduce((at, name) => at[name], document);
    return whole(found, document, depth + 1);
  }
  return Object.fromEntries(
    Object.entries(schema).map(([name, each]) => [name, whole(each, document, depth)]),
  );
}

function answers(responses, document) {
  const rows = Object.entries(responses).map(([status, { description, content }]) => {
    const schema = Object.values(content ?? {})[0]?.schema;
    const shown = status === "200" && schema ? make("pre", {}, text(whole(schema, document))) : null;
    return make("tr", {}, make("th", { scope: "row" }, status), make("td", {}, description, shown));
  });
  return make("table", {}, make("tbody", {}, ...rows));
}

function operation(path, method, described, shared, document) {
  const parameters = [...(shared ?? []), ...(described.parameters ?? [])].map((each) =>
    make("li", {}, make("code", {}, each.name), ` in the ${each.in}: `, make("code", {}, text(each.schema))));
  const body = Object.values(described.requestBody?.content ?? {})[0]?.schema;
  return make("details", {},
    make("summary", {}, make("span", { class: "method" }, method.toUpperCase()),
      make("code", {}, path), ` ${described.summary}`),
    parameters.length ? make("ul", {}, ...parameters) : null,
    body ? make("h3", {}, "Body") : null,
    body ? make("pre", {}, text(whole(body, document))) : null,
    make("h3", {}, "Answers"), answers(described.responses, document));
}

const document_ = await ask("openapi.json");
document.getElementById("about").textContent = document_.info.description;
for (const [path, { parameters, ...methods }] of Object.entries(document_.paths)) {
  for (const [method, described] of Object.entries(methods)) {
    document.getElementById("paths").append(
      operation(path, method, described, parameters, document_));
  }
}
