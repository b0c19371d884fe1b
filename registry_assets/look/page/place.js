/**
 * Where one is in the page, as the fragment of its address has it: links lead there, and the back
 * button leads back.
 *
 * @import { Filters } from "./api.js"
 * @typedef {Record<string, string>} Others
 * @typedef {{source: string, tab: string, filters: Filters, picture: string, others: Others}} Place
 */

const LISTS = ["collection", "class", "stage", "reason", "decision", "camera", "place", "pending"];
const RANGES = ["brightness", "contrast", "taken"];

/**
 * @param {string} fragment
 * @returns {Place}
 */
export function parse(fragment) {
  const parameters = new URLSearchParams(fragment.replace(/^#/, ""));
  /** @type {Place} */
  const place = { source: "", tab: "gallery", filters: {}, picture: "", others: {} };
  for (const key of new Set(parameters.keys())) {
    const value = parameters.get(key) ?? "";
    if (key === "source" || key === "tab" || key === "picture") place[key] = value;
    else if (LISTS.includes(key)) place.filters[key] = parameters.getAll(key);
    else if (RANGES.includes(key)) {
      const range = value.split("..");
      if (range.length !== 2) continue;
      if (key === "taken") place.filters[key] = range;
      else place.filters[key] = range.map((end) => (end && !Number.isNaN(+end) ? +end : null));
    } else if (key === "text") place.filters.text = value;
    else place.others[key] = value;
  }
  return place;
}

/** @param {Place} place */
export function format({ source, tab, filters, picture, others }) {
  const parameters = new URLSearchParams();
  if (source) parameters.set("source", source);
  if (tab) parameters.set("tab", tab);
  for (const [key, value] of Object.entries(filters)) {
    if (RANGES.includes(key)) parameters.set(key, /** @type {unknown[]} */ (value).join(".."));
    else if (Array.isArray(value)) for (const item of value) parameters.append(key, String(item));
    else if (value) parameters.set(key, value);
  }
  for (const [key, value] of Object.entries(others)) if (value) parameters.set(key, value);
  if (picture) parameters.set("picture", picture);
  return `#${parameters}`;
}

/** @type {Place} */
export let place = parse(location.hash);

/** @type {((before: Place) => void)[]} */
const listeners = [];

/** @param {(before: Place) => void} listener Called after each change, with the place before. */
export function onMove(listener) {
  listeners.push(listener);
}

/**
 * Goes somewhere else in the page.
 *
 * @param {Partial<Place>} changes
 * @param {{replace?: boolean, tell?: boolean}} [options] Whether the back button skips where one is
 *   now, and whether listeners are told.
 */
export function go(changes, { replace = false, tell = true } = {}) {
  const next = { ...place, ...changes };
  const address = format(next);
  if (address === format(place)) return;
  if (replace) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
  if (tell) moveTo(next);
  else place = next;
}

/** @param {Place} next */
function moveTo(next) {
  const before = place;
  place = next;
  for (const listener of listeners) listener(before);
}

addEventListener("popstate", () => moveTo(parse(location.hash)));
