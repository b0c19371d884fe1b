/**
 * Two versions side by side: what came, what went, and what moved from class to class.
 *
 * @import { Diff, Moved, Reason, Row } from "./api.js"
 * @typedef {Row & {from: string, to: string, by: string}} Compared By: the stage that caused it.
 */

import { get } from "./api.js";
import { button, count, counted, h, visible } from "./dom.js";
import { fetchRows } from "./fetching.js";
import { Grid } from "./grid.js";
import { fail } from "./notices.js";
import { registry } from "./open.js";
import { viewer } from "./picture.js";
import { go, place } from "./place.js";
import { captionOf } from "./tile.js";
import { listed } from "./windows.js";

const SMALL = 130;
const KINDS = /** @type {const} */ ({ went: "Went", moved: "Moved", came: "Came" });

export class Versions {
  constructor() {
    this.asking = new AbortController();
    const change = () =>
      go({ others: { ...place.others, a: this.a.value.trim(), b: this.b.value.trim() } });
    const choices = h("datalist", { id: "versions" });
    for (const tag of [...(registry.answer.versions[place.source] ?? [])].reverse()) {
      choices.append(h("option", { value: tag }));
    }
    /** @param {string} label @param {string} placeholder */
    const chooser = (label, placeholder) =>
      h("input", {
        list: "versions",
        placeholder,
        "aria-label": label,
        spellcheck: "false",
        onchange: change,
      });
    this.a = chooser("Version A", "tag or commit");
    this.b = chooser("Version B", "the work tree");
    this.families = h("div.families");
    this.columns = h("div.columns");
    /** @type {Grid[]} */
    this.grids = [];
    this.element = h(
      "div.versions",
      {},
      h(
        "div.bar",
        {},
        h("label", {}, "A ", this.a),
        button("⇄", () => this.swap(), { title: "Swap A and B", "aria-label": "Swap A and B" }),
        h("label", {}, "B ", this.b),
        choices,
        button("Compare", change, { class: "primary" }),
        h("span.muted", {}, "B empty: the work tree."),
      ),
      this.families,
      this.columns,
    );
    this.update();
  }

  swap() {
    const { a = "", b = "" } = place.others;
    go({ others: { ...place.others, a: b, b: a } });
  }

  /** @param {import("./place.js").Place} [before] */
  update(before) {
    const { a, b } = place.others;
    if (before && before.others.a === a && before.others.b === b) return;
    this.a.value = a ?? "";
    this.b.value = b ?? "";
    this.read();
  }

  async read() {
    this.asking.abort();
    this.asking = new AbortController();
    const { a = "", b = "" } = place.others;
    if (a === b) {
      const tags = registry.answer.versions[place.source] ?? [];
      this.clear();
      this.columns.append(
        h(
          "div.nothing",
          {},
          h("p", {}, "Choose two versions: tags, commits, or nothing for the work tree."),
          tags.length
            ? h("p.muted", {}, `The last tag is ${visible(String(tags.at(-1)))}.`)
            : h(
                "p.muted",
                {},
                "Nothing is tagged yet; ",
                h("code", {}, "registry tag"),
                " tags a version.",
              ),
        ),
      );
      return;
    }
    try {
      const asked = { source: place.source, a, b };
      this.show(/** @type {Diff} */ (await get("diff", asked, this.asking.signal)));
    } catch (error) {
      if (!(error instanceof DOMException)) this.clear();
      fail(error);
    }
  }

  clear() {
    for (const grid of this.grids) grid.destroy();
    this.grids = [];
    this.families.replaceChildren();
    this.columns.replaceChildren();
  }

  /** @param {Diff} diff */
  show(diff) {
    this.clear();
    const { families, reasons, unread } = diff;
    this.families.append(
      h("p", {}, h("bdi", {}, visible(diff.a)), " → ", h("bdi", {}, visible(diff.b))),
    );
    if (unread.length) {
      this.families.append(
        h("p.unfit", {}, `Not compared, not here: ${unread.map(visible).join(", ")}`),
      );
    }
    if (reasons.length) this.families.append(folded("Why", reasons.map(reasonRow)));
    if (families.length) {
      const rows = families.map(({ family, role, added, removed }) =>
        tableRow(family, role, `+${count(added)}`, `−${count(removed)}`),
      );
      this.families.append(
        folded(`${counted(families.length, "family", "families")} changed`, rows),
      );
    }
    for (const [kind, label] of Object.entries(KINDS)) {
      const rows = diff[/** @type {keyof typeof KINDS} */ (kind)].map(asRow);
      const source = listed(rows);
      const grid = new Grid({
        label,
        source,
        size: SMALL,
        caption: (row) => movedCaption(/** @type {Compared} */ (row)),
        empty: h("div.nothing", {}, h("p.muted", {}, "None.")),
        onopen: (index, row) => viewer.open(source, index, row, (to) => grid.activate(to)),
        onfetch: (chosen) => fetchRows(chosen),
      });
      this.grids.push(grid);
      this.columns.append(
        h(
          "section",
          { class: `pictures ${kind}` },
          h("h2", {}, label, " ", h("span.count", {}, count(rows.length))),
          grid.element,
        ),
      );
    }
  }

  refresh() {
    this.read();
  }

  chosen() {
    const grid = this.grids.find(({ element }) => element === document.activeElement);
    return grid ? [grid.activeRow()] : [];
  }

  focus() {
    this.a.focus();
  }

  destroy() {
    this.asking.abort();
    this.clear();
  }
}

/** @param {string} label @param {HTMLElement[]} rows */
function folded(label, rows) {
  const table = h("table", {}, h("tbody", {}, ...rows));
  return h("details", {}, h("summary", {}, label), table);
}

/** @param {string} head @param {...string} cells */
function tableRow(head, ...cells) {
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, visible(head)),
    ...cells.map((cell) => h("td", {}, visible(cell))),
  );
}

/** @param {Reason} reason */
function reasonRow({ kind, what, before, after, runs }) {
  const change = [before, after].map((value) =>
    value === null ? "–" : String(value).slice(0, 40),
  );
  return tableRow(what, kind, change.join(" → "), counted(runs, "run"));
}

/** @param {Compared} row */
function movedCaption({ from, to, by, ...row }) {
  const badge = from && to ? `${from} → ${to}` : from || to;
  return { ...captionOf(row), badge, values: by, spoken: `${badge}, ${by}` };
}

/**
 * As far as a comparison knows it.
 *
 * @param {Moved} item
 * @returns {Compared}
 */
function asRow({ stage: by, ...item }) {
  return {
    by,
    stage: "",
    id: "",
    outcome: "",
    class: "",
    reason: "",
    decision: null,
    width: null,
    height: null,
    format: "",
    size: null,
    brightness: null,
    contrast: null,
    taken: "",
    camera: "",
    lens: "",
    place: null,
    note: "",
    pending: false,
    ...item,
  };
}
