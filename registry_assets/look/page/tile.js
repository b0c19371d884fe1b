/**
 * One picture in a grid: its thumbnail, its name and values, and why it is left out.
 *
 * @import { Row } from "./api.js"
 * @typedef {{badge: string, tone: string, values: string, spoken: string}} Caption
 */

import { h, lastPart, measured, visible } from "./dom.js";

/** @param {Row} row */
export function captionOf(row) {
  const isLeftOut = Boolean(row.outcome) && row.outcome !== "kept";
  const values = [];
  const spoken = [row.outcome === "kept" ? `kept ${row.class}` : row.outcome];
  if (row.brightness !== null && row.brightness !== undefined) {
    values.push(`☼ ${measured(row.brightness)}`, `◐ ${measured(row.contrast)}`);
    spoken.push(`brightness ${measured(row.brightness)}, contrast ${measured(row.contrast)}`);
  }
  if (row.class) values.push(row.class);
  if (row.decision) spoken.push(`${decided(row)}: ${row.decision.why}`);
  return {
    badge: isLeftOut ? row.outcome : row.decision ? decided(row) : row.pending ? "pending" : "",
    tone: isLeftOut ? "out" : row.decision ? "allowed" : "kept",
    values: values.join("  "),
    spoken: spoken.filter(Boolean).join(", "),
  };
}

/** @param {Row} row */
function decided(row) {
  return row.decision?.verdict === "allow" ? "allowed" : "denied";
}

/**
 * Whether its pixels can be shown: it is in the cache, and could be decoded.
 *
 * @param {Row} row
 */
export function isShowable(row) {
  return row.here !== false && !(row.stage && row.brightness === null);
}

/**
 * @param {Row | undefined} row Undefined while it is being fetched.
 * @param {number} index
 * @param {(row: Row) => Caption} caption
 */
export function buildTile(row, index, caption) {
  const tile = h("div.tile", { role: "gridcell", "data-index": index });
  if (!row) {
    tile.classList.add("empty");
    tile.setAttribute("aria-label", "loading");
    return tile;
  }
  const { badge, tone, values, spoken } = caption(row);
  tile.classList.add(tone);
  const name = visible(lastPart(row.path));
  tile.setAttribute("aria-label", `${name}, ${spoken}${row.here === false ? ", not here" : ""}`);
  tile.title =
    visible(`${row.collection ? `${row.collection}/` : ""}${row.path}\n`).replace("\\u000a", "\n") +
    spoken;
  const picture = h("div.picture");
  if (isShowable(row)) {
    picture.append(thumbnail(row.md5));
  } else if (row.here === false) {
    const fetch = h("button.fetch", { type: "button", tabindex: -1, "data-fetch": true }, "Fetch");
    picture.append(h("span.blank", {}, "only on the remote", fetch));
  } else {
    picture.append(h("span.blank", {}, row.reason || row.outcome));
  }
  if (badge && (row.here === false || isShowable(row))) picture.append(h("span.badge", {}, badge));
  picture.append(h("span.check", { "data-check": true, "aria-hidden": "true" }, "✓"));
  tile.append(picture, h("bdi.name", {}, name), h("span.values", {}, values || "\u00a0"));
  return tile;
}

/**
 * Those that were loaded last, to be shown again at once.
 *
 * @type {Map<string, HTMLImageElement>}
 */
const loaded = new Map();
const MOST_LOADED = 400;

/** @param {string} md5 */
function thumbnail(md5) {
  const there = loaded.get(md5);
  if (there && !there.isConnected) return there;
  const image = h("img", { alt: "", draggable: "false", decoding: "async", fetchpriority: "low" });
  image.dataset.src = `thumbnails/${md5}`;
  image.addEventListener("load", () => {
    image.classList.add("loaded");
    loaded.delete(md5);
    loaded.set(md5, image);
    for (const oldest of loaded.keys()) {
      if (loaded.size <= MOST_LOADED) break;
      loaded.delete(oldest);
    }
  });
  image.addEventListener("error", () => {
    if (image.getAttribute("src")) image.replaceWith(h("span.blank", {}, "cannot be shown"));
  });
  return image;
}

/**
 * Starts to load the thumbnails below an element.
 *
 * @param {Element} element
 */
export function load(element) {
  for (const image of /** @type {NodeListOf<HTMLImageElement>} */ (
    element.querySelectorAll("img[data-src]")
  )) {
    image.src = String(image.dataset.src);
    delete image.dataset.src;
  }
}

/**
 * Gives up loading those that are not there yet.
 *
 * @param {Element} element
 */
export function unload(element) {
  for (const image of element.querySelectorAll("img")) {
    if (!image.complete) image.removeAttribute("src");
  }
}
