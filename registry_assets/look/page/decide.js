/**
 * Allowing and denying pictures, with a reason, and taking that back.
 *
 * @import { Decided, Row } from "./api.js"
 */

import { button, counted, h, named } from "./dom.js";
import { fail, sayWritten } from "./notices.js";
import { idOf, registry } from "./open.js";
import { place } from "./place.js";
import { selection } from "./selection.js";

const NAMED = 6;

/**
 * Writes about pictures.
 *
 * @param {string} address
 * @param {Row[]} rows
 * @param {Record<string, unknown>} body
 * @param {(row: Row) => boolean} isOnlyHere Whether it holds for a picture in its collection alone;
 *   otherwise in every collection that has it, as on the command line.
 * @returns {Promise<Decided>}
 */
async function write(address, rows, body, isOnlyHere) {
  /** @type {Decided} */
  const all = { done: [], stale: [], next: "" };
  /** @type {Map<string, string[]>} */
  const groups = new Map();
  for (const row of rows) {
    const collection = isOnlyHere(row) ? row.collection : "";
    groups.set(collection, [...(groups.get(collection) ?? []), row.md5]);
  }
  for (const [collection, md5s] of groups) {
    const about = collection ? { md5s, collection } : { md5s };
    const { done, stale, next } = /** @type {Decided} */ (
      await registry.write(address, { ...body, ...about })
    );
    all.done.push(...done);
    all.stale = [...new Set([...all.stale, ...stale])];
    all.next = next || all.next;
  }
  return all;
}

/**
 * Asks for the reason, and writes the decision.
 *
 * @param {"allow" | "deny"} verdict
 * @param {Row[]} rows
 * @param {{why?: string, kept?: Row}} [options] A reason to start with, and of duplicates the one
 *   that stays.
 */
export function decide(verdict, rows, { why = "", kept } = {}) {
  const dataset = registry.dataset;
  if (!rows.length) return;
  if (!dataset?.has_decisions) {
    fail("No decisions are made here: show a data set whose stages depend on them.");
    return;
  }
  const verb = verdict === "allow" ? "Allow" : "Deny";
  const reason = h("textarea", { id: "why", rows: 3, required: true, "aria-describedby": "unfit" });
  reason.value = why;
  const unfit = h("p.unfit", { id: "unfit", role: "alert" });
  const write_ = h("button.primary", { type: "submit", class: `primary ${verdict}` }, verb);
  const onlyHere = h("input", { type: "checkbox", id: "only-here" });
  const form = h(
    "form",
    { novalidate: true },
    h("h2", {}, `${verb} ${counted(rows.length, "picture")}`),
    h(
      "p.muted",
      {},
      verdict === "allow"
        ? "Kept whatever the thresholds say."
        : "Left out whatever the thresholds say.",
    ),
    h(
      "ul.names",
      {},
      ...rows.slice(0, NAMED).map((row) => h("li", {}, named(`${row.collection}/${row.path}`))),
      rows.length > NAMED ? h("li.muted", {}, `and ${rows.length - NAMED} more`) : null,
    ),
    h("label", { for: "why" }, "Why"),
    reason,
    unfit,
    // Of duplicates, each copy is told by its collection.
    kept
      ? null
      : h("label", {}, onlyHere, " only here, and not for the same picture in other collections"),
    h("p.muted", {}, "By, as Git says: ", h("bdi", {}, registry.answer.author || "nobody yet")),
    h(
      "div.buttons",
      {},
      button("Cancel", () => dialog.close()),
      write_,
    ),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const given = reason.value.trim();
    if (!given) {
      unfit.textContent = "A reason is needed: somebody will ask.";
      reason.focus();
      return;
    }
    write_.disabled = true;
    try {
      const about = kept ? { duplicate_of: `${kept.collection}/${kept.path}` } : {};
      const body = { dataset: idOf(dataset), verdict, why: given, ...about };
      const done = await write("decisions", rows, body, () => Boolean(kept) || onlyHere.checked);
      dialog.close();
      selection.clear();
      sayWritten(
        `${verb === "Allow" ? "Allowed" : "Denied"} ${counted(rows.length, "picture")}`,
        done,
      );
      registry.tell();
    } catch (error) {
      unfit.textContent = error instanceof Error ? error.message : String(error);
    } finally {
      write_.disabled = false;
    }
  });
  const dialog = modal(form, `${verb} pictures`);
  reason.focus();
  reason.select();
}

/**
 * Takes back the decisions about pictures.
 *
 * @param {Row[]} rows
 */
export async function takeBack(rows) {
  const decided = rows.filter((row) => row.decision);
  if (!decided.length) {
    fail("Nothing was decided about these pictures.");
    return;
  }
  try {
    const body = { dataset: place.source };
    const done = await write("decisions/withdraw", decided, body, (row) =>
      Boolean(row.decision?.only_here),
    );
    selection.clear();
    sayWritten(`Took back ${counted(decided.length, "decision")}`, done);
    registry.tell();
  } catch (error) {
    fail(error);
  }
}

/**
 * Shows something above the page until it is closed.
 *
 * @param {HTMLElement} content
 * @param {string} label
 */
export function modal(content, label) {
  const dialog = h("dialog.modal", { "aria-label": label }, content);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/**
 * The buttons that decide about some pictures.
 *
 * @param {() => Row[]} rows
 */
export function decisionButtons(rows) {
  return [
    button("Allow", () => decide("allow", rows()), { title: "Allow (a)", class: "decides allow" }),
    button("Deny", () => decide("deny", rows()), { title: "Deny (d)", class: "decides deny" }),
    button("Take back", () => takeBack(rows()), {
      title: "Take back the decision (u)",
      class: "decides",
    }),
  ];
}
