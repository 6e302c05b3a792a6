// Under Load PixArt Model: what the chosen file is.

import { area, values, watch } from "./watching.js";

function question(node) {
  const { file, variant } = values(node);
  return file ? { file, variant } : null;
}

function show(node, answer) {
  const line = area(node, "pixart_file", 48);
  line.textContent = answer?.text ?? "";
  line.title = answer?.notice ?? "";
  line.style.color = answer?.notice ? "var(--warning-text, #d90)" : "var(--descrip-text, #999)";
}

watch("PixArtModelLoader", "model", question, show);
