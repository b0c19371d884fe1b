/** What is said above the view: what happened, what is next, and what the server refused. */

import { button, h } from "./dom.js";

const LONGEST = 4;
/** How long passing news stay, in ms. */
const READ = 12_000;

/** Where it is said. What covers the page takes it along: it would be said out of sight. */
export const noticeList = () => /** @type {HTMLElement} */ (document.getElementById("notices"));

/**
 * @param {string} kind
 * @param {import("./dom.js").Child[]} content
 * @param {string} [topic] What is said of the same before goes.
 */
function show(kind, content, topic = "") {
  const list = noticeList();
  const text = h("div.said", {}, ...content);
  for (const shown of [...list.children]) {
    const isSame = shown.firstChild?.textContent === text.textContent;
    if (isSame || (topic && shown.getAttribute("data-topic") === topic)) shown.remove();
  }
  const notice = h(`div.notice.${kind}`, { "data-topic": topic || null }, text);
  notice.append(button("×", () => notice.remove(), { "aria-label": "Dismiss", class: "quiet" }));
  list.append(notice);
  while (list.children.length > LONGEST) list.firstElementChild?.remove();
  return notice;
}

/** @param {string} text */
export function say(text) {
  const notice = show("news", [text]);
  setTimeout(() => notice.remove(), READ);
}

/**
 * What holds until more is said of the same; it stays until then, or until it is dismissed.
 *
 * @param {string} topic
 * @param {string} text
 */
export function keepSaying(topic, text) {
  show("news", [text], topic);
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
