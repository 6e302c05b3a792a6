// Shows under a node what it said of its work: tokens used, words cut, a file's kind.

import { app } from "../../scripts/app.js";
import { ComfyWidgets } from "../../scripts/widgets.js";

const NAME = "pixart_said";

function show(node, lines) {
  const there = node.widgets?.find((widget) => widget.name === NAME);
  if (there || lines.length) {
    (there ?? add(node)).value = lines.join("\n");
  }
}

function add(node) {
  const { widget } = ComfyWidgets.STRING(node, NAME, ["STRING", { multiline: true }], app);
  widget.label = " "; // an empty one would show the name
  // Neither saved with the workflow nor sent to the server: it is no input.
  widget.serialize = false;
  widget.options = { ...widget.options, serialize: false, read_only: true };
  if (widget.inputEl) {
    widget.inputEl.readOnly = true;
  }
  return widget;
}

app.registerExtension({
  name: "PixArt.Said",

  async beforeRegisterNodeDef(nodeType, nodeData) {
    if (nodeData.category !== "PixArt") {
      return;
    }
    const { onExecuted } = nodeType.prototype;
    nodeType.prototype.onExecuted = function (output) {
      onExecuted?.apply(this, arguments);
      if (output?.text) {
        show(this, output.text);
      }
    };
  },
});
