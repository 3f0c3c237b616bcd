// Asks the model for the text on the page and shows its answer, by the task that the card names.
"use strict";

const byId = (id) => document.getElementById(id);
const element = (tag, text, className) => {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
};
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const address = () => `/v1/models/${encodeURIComponent(model.name)}`;

const SAMPLES = {
  text: "Write a text here.",
  question: "Who wrote the book?",
  context: "The book was written by Ann Lee in 1972.",
};
let model = null;
let asked = 0; // the number of the last request: an older answer that comes later is not shown

async function call(path, body) {
  const options = body ? { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } } : {};
  const reply = await fetch(path, options);
  const value = await reply.json().catch(() => ({ error: `the server answered ${reply.status}` }));
  if (!reply.ok) throw new Error(value.error || `the server answered ${reply.status}`);
  return value;
}

function showError(place, error) {
  place.replaceChildren(element("p", `Error: ${error.message}`, "error"));
}

// --- what a task shows ---------------------------------------------------------------------------------------------

function bars(entries) {
  const list = element("ul", undefined, "bars");
  for (const [label, share, best] of entries) {
    const item = element("li", undefined, best ? "best" : "");
    const bar = element("i");
    bar.style.width = `${Math.max(0, Math.min(100, 100 * share))}%`;
    item.append(bar, element("span", label), element("span", percent(share)));
    list.append(item);
  }
  return list;
}

// Places count code points, as the tokenizer does; a string of JavaScript counts UTF-16 units.
function marked(text, spans) {
  const points = Array.from(text);
  const shown = element("p", undefined, "text");
  let at = 0;
  for (const [start, end, label] of spans) {
    shown.append(points.slice(at, start).join(""));
    const mark = element("mark", points.slice(start, end).join(""));
    if (label) mark.append(element("small", label));
    shown.append(mark);
    at = end;
  }
  shown.append(points.slice(at).join(""));
  return shown;
}

function classification(answer) {
  if (answer.values) return [element("p", answer.values.map((value) => value.toFixed(4)).join(", "))];
  const labels = model.model_card.labels;
  const entries = answer.probabilities.map((share, index) => [labels[index], share, labels[index] === answer.label]);
  return [bars(entries.sort((a, b) => b[1] - a[1]))];
}

function masks(answer) {
  if (!answer.tokens.length) return [element("p", "Write [MASK] where a word is to be filled in.")];
  return answer.tokens.flatMap((tokens, index) => [
    element("h3", answer.tokens.length > 1 ? `Mask ${index + 1}` : "[MASK]"),
    bars(tokens.map((token, rank) => [token, answer.probabilities[index][rank], rank === 0])),
  ]);
}

function tags(answer, instance) {
  const spans = answer.entity_starts.map((start, index) => [start, answer.entity_ends[index], answer.entity_labels[index]]);
  return spans.length ? [marked(instance.text, spans)] : [element("p", "No entity."), marked(instance.text, [])];
}

function span(answer, instance) {
  const said = answer.answer ? `${answer.answer} (${percent(answer.probability)})` : "No answer in this text.";
  return [element("p", said, "best text"), marked(instance.context, answer.answer ? [[answer.start, answer.end]] : [])];
}

function embeddings(answer) {
  const vector = answer.embeddings;
  const norm = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
  const first = vector.slice(0, 8).map((value) => value.toFixed(4)).join(", ");
  return [element("p", `${vector.length} numbers, length ${norm.toFixed(4)}: ${first}, …`, "text")];
}

const SHOWN = { classification, "fill-mask": masks, tagging: tags, "question-answering": span, embeddings };

// --- asking --------------------------------------------------------------------------------------------------------

const instance = () => Object.fromEntries(model.inputs.map((name) => [name, byId(`input-${name}`).value]));

async function ask(event) {
  event.preventDefault();
  const number = ++asked;
  const wanted = instance();
  try {
    const reply = await call(`${address()}:predict`, { instances: [wanted] });
    if (number !== asked) return;
    let answer = reply.predictions[0];
    if (typeof answer !== "object" || Array.isArray(answer)) {
      answer = { [model.model_card.task === "embeddings" ? "embeddings" : "values"]: answer };
    }
    byId("answer").replaceChildren(...SHOWN[model.model_card.task](answer, wanted));
    await lookUp(wanted, number);
  } catch (error) {
    if (number === asked) showError(byId("answer"), error);
  }
}

// --- attention -----------------------------------------------------------------------------------------------------

const MOST_TOKENS = 200; // drawn; more would be a black sheet

async function lookUp(wanted, number) {
  if (byId("attention-part").hidden) return;
  const [layer, head] = [Number(byId("layer").value), Number(byId("head").value)];
  try {
    const found = await call(`${address()}:attention`, { instance: wanted, layer, head });
    if (number === asked) draw(found);
  } catch (error) {
    if (number === asked) showError(byId("attention"), error);
  }
}

function svg(tag, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function draw({ tokens, weights }) {
  const count = Math.min(tokens.length, MOST_TOKENS);
  const [width, line] = [440, 22];
  const middle = (index) => 18 + index * line;
  const picture = svg("svg", { viewBox: `0 0 ${width} ${count * line + 14}`, role: "group", "aria-label": "Attention" });
  const lines = svg("g", {});
  picture.append(lines);
  const show = (only) => {
    lines.replaceChildren();
    for (let from = 0; from < count; from++) {
      if (only !== null && from !== only) continue;
      for (let to = 0; to < count; to++) {
        const weight = weights[from][to];
        if (weight < 0.02) continue;
        const ends = { x1: 150, y1: middle(from) - 4, x2: 290, y2: middle(to) - 4 };
        lines.append(svg("line", { ...ends, "stroke-opacity": weight, "stroke-width": 1 + 2 * weight }));
      }
    }
  };
  for (let index = 0; index < count; index++) {
    const best = weights[index].indexOf(Math.max(...weights[index].slice(0, count)));
    const about = `${tokens[index]} reads most from ${tokens[best]}, ${percent(weights[index][best])}`;
    const reader = svg("g", { tabindex: 0, role: "img", "aria-label": about });
    reader.append(svg("text", { x: 144, y: middle(index), "text-anchor": "end" }, shortened(tokens[index])));
    for (const type of ["mouseenter", "focus"]) reader.addEventListener(type, () => show(index));
    for (const type of ["mouseleave", "blur"]) reader.addEventListener(type, () => show(null));
    picture.append(reader, svg("text", { x: 296, y: middle(index), "aria-hidden": true }, shortened(tokens[index])));
  }
  show(null);
  const left = tokens.length - count;
  byId("attention").replaceChildren(picture, ...(left > 0 ? [element("p", `${left} more tokens are not drawn.`, "hint")] : []));
}

const shortened = (token) => (token.length > 18 ? `${token.slice(0, 17)}…` : token);

// --- the start -----------------------------------------------------------------------------------------------------

function fill(select, count) {
  for (let index = 0; index < count; index++) select.append(new Option(String(index + 1), String(index)));
  select.addEventListener("change", () => lookUp(instance(), asked));
}

async function start() {
  model = await call("model");
  const card = model.model_card;
  byId("about").textContent = `${card.task}, ${card.parameters.toLocaleString("en")} parameters, up to ${card.max_length} tokens`;
  for (const input of model.inputs) {
    const label = element("label", input.replace("_", " "), "field");
    const area = element("textarea");
    area.id = `input-${input}`;
    area.value = card.task === "fill-mask" ? "The capital of Norway is [MASK]." : SAMPLES[input] || "";
    area.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("form").requestSubmit();
    });
    label.htmlFor = area.id;
    byId("fields").append(label, area);
  }
  if (card.signatures.includes("attention")) {
    fill(byId("layer"), card.config.num_hidden_layers);
    fill(byId("head"), card.config.num_attention_heads);
    byId("attention-part").hidden = false;
  }
  byId("form").addEventListener("submit", ask);
  byId(`input-${model.inputs[0]}`).focus();
}

start().catch((error) => showError(byId("about"), error));
