/** What is said above the view: what happened, what is next, and what the server refused. */

import { button, h } from "./dom.js";

const LONGEST = 4;
/** How long news stay, in ms; what leaves something to do stays until it is dismissed. */
const READ = 12_000;

/**
 * @param {string} kind
 * @param {import("./dom.js").Child[]} content
 */
function show(kind, content) {
  const list = document.getElementById("notices");
  if (!list) return null;
  const text = h("div.said", {}, ...content);
  for (const shown of [...list.children]) {
    if (shown.firstChild?.textContent === text.textContent) shown.remove();
  }
  const notice = h(`div.notice.${kind}`, {}, text);
  notice.append(button("×", () => notice.remove(), { "aria-label": "Dismiss", class: "quiet" }));
  list.append(notice);
  while (list.children.length > LONGEST) list.firstElementChild?.remove();
  return notice;
}

/** @param {string} text */
export function say(text) {
  const notice = show("news", [text]);
  setTimeout(() => notice?.remove(), READ);
}

/**
 * Shows an error as text; a request that was given up is none.
 *
 * @param {unknown} error
 */
export function fail(error) {
  if (error instanceof DOMException && error.name === "AbortError") return;
  show("error", [error instanceof Error ? error.message : String(error)]);
}

/**
 * What a write leaves to be made again, and how.
 *
 * @param {string} done
 * @param {import("./api.js").Written} written
 */
export function sayWritten(done, { stale, next }) {
  const list = stale.length
    ? h(
        "details",
        {},
        h("summary", {}, `${stale.length} stale`),
        h("ul", {}, ...stale.map((path) => h("li", {}, path))),
      )
    : null;
  show("news", [`${done}. `, list, next ? "Next: " : "", next ? h("code", {}, next) : null]);
}
