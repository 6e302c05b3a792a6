// On PixArt Resolution: the shape of the picture, with its size in pixels.

import { area, connected, modelOf, values, watch } from "./watching.js";

const BOX = 64; // px
const NAMES = ["sizing", "aspect", "width", "height", "swap", "table", "ratios"];

function question(node) {
  const all = values(node);
  const exact = all.sizing === "exact size" || all.sizing === "nearest trained size";
  const unknown = NAMES.some((name) => connected(node, name));
  if (all.sizing === "like the image" || (unknown && exact)) {
    return null;
  }
  return { ...Object.fromEntries(NAMES.map((name) => [name, all[name]])), ...modelOf(node) };
}

function show(node, answer) {
  const box = area(node, "pixart_shape", BOX + 20);
  box.replaceChildren();
  if (answer === null) {
    return;
  }
  const { width, height, notice } = answer;
  const scale = BOX / Math.max(width, height);
  const drawn = document.createElement("div");
  drawn.style.cssText = "margin: 0 auto; border: 1px solid var(--descrip-text, #999)";
  drawn.style.width = `${Math.round(width * scale)}px`;
  drawn.style.height = `${Math.round(height * scale)}px`;
  const size = document.createElement("div");
  size.textContent = `${width} × ${height}`;
  size.style.textAlign = "center";
  box.title = notice;
  box.append(drawn, size);
}

watch("PixArtResolution", "size", question, show);
