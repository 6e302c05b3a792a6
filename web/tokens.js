// Under PixArt Prompt: how many tokens it takes, and the words beyond the limit.

import { area, connected, loader, modelOf, values, watch } from "./watching.js";

function question(node) {
  if (connected(node, "text")) {
    return null;
  }
  const { text, cleaning } = values(node);
  const t5 = loader(node, "clip", "PixArtT5Loader");
  return { text, cleaning, ...(t5 && { t5: values(t5).file }), ...modelOf(node) };
}

function show(node, answer) {
  const line = area(node, "pixart_tokens", 32);
  line.replaceChildren();
  if (answer === null) {
    return;
  }
  const count = document.createElement("span");
  count.textContent = `${answer.count} / ${answer.limit} tokens `;
  count.style.color = "var(--descrip-text, #999)";
  const cut = document.createElement("mark");
  cut.textContent = answer.cut;
  cut.style.cssText = "background: none; color: var(--error-text, #f55)";
  line.title = answer.cut ? `Not read: ${answer.cut}` : "";
  line.append(count, cut);
}

watch("PixArtTextEncode", "tokens", question, show);
