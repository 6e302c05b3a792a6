// Asks the server what the nodes' values mean, whenever one of them has changed.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

const INTERVAL = 400; // ms
const MARGIN = 10; // px that the editor leaves on each side of such a widget
const answerers = [];

/**
 * For nodes of the type: `question(node)` gives what to ask `/pixart/<route>`, or null;
 * `show(node, answer)` gets what it said, or null where there is nothing to say.
 */
export function watch(type, route, question, show) {
  answerers.push({ type, route, question, show, seen: new WeakMap() });
}

/** The widgets' values of a node by name. */
export function values(node) {
  return Object.fromEntries((node.widgets ?? []).map((widget) => [widget.name, widget.value]));
}

/** Whether an input is connected, so that its widget does not count. */
export function connected(node, name) {
  return node.inputs?.find((input) => input.name === name)?.link != null;
}

/** The loader of the given type that a node's input comes from, through nodes that hand it on. */
export function loader(node, name, type) {
  let at = node;
  for (let hops = 0; at && hops < 50; hops++) {
    const slot = at.inputs?.findIndex((input) => input.name === name) ?? -1;
    at = slot < 0 ? null : at.getInputNode(slot);
    if (at?.type === type) {
      return at;
    }
  }
  return null;
}

/** File and variant of the model that a node is connected to, for a question. */
export function modelOf(node) {
  const found = loader(node, "model", "PixArtModelLoader");
  return found ? { file: values(found).file, variant: values(found).variant } : {};
}

/** Room under a node's widgets, of a height in pixels; neither saved nor sent. */
export function area(node, name, height) {
  const shown = node.widgets?.find((widget) => widget.name === name);
  if (shown) {
    return shown.element;
  }
  const element = document.createElement("div");
  element.style.cssText = "overflow: hidden; font-size: 12px; line-height: 16px; padding: 0 8px";
  const whole = () => height + 2 * MARGIN;
  const options = { serialize: false, getMinHeight: whole, getMaxHeight: whole };
  const widget = node.addDOMWidget(name, "pixart", element, options);
  widget.serialize = false;
  const [width, tall] = node.size;
  node.setSize([width, Math.max(tall, node.computeSize()[1])]);
  return element;
}

async function ask(answerer, node) {
  const { route, question, show, seen } = answerer;
  const asked = question(node);
  const key = JSON.stringify(asked);
  if (seen.get(node) === key) {
    return;
  }
  seen.set(node, key);
  if (asked === null) {
    show(node, null);
    return;
  }
  // A server that cannot be reached is asked again when the next value changes.
  const options = { method: "POST", body: key, headers: { "Content-Type": "application/json" } };
  const response = await api.fetchApi(`/pixart/${route}`, options).catch(() => ({ ok: false }));
  // By now there may be a later question, whose answer is to stand.
  const answer = response.ok ? await response.json() : null;
  if (seen.get(node) === key) {
    show(node, answer);
    app.graph.setDirtyCanvas(true, true);
  }
}

app.registerExtension({
  name: "PixArt.Watching",

  setup() {
    // Widgets are also set by undo, by other packs and from elsewhere in the graph, and none of
    // that calls back: so the values are looked at.
    setInterval(() => {
      for (const node of app.graph?._nodes ?? []) {
        for (const answerer of answerers) {
          if (node.type === answerer.type) {
            ask(answerer, node);
          }
        }
      }
    }, INTERVAL);
  },
});
