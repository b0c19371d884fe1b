/**
 * Two versions side by side: what came, what went, and what moved from class to class.
 *
 * @import { Diff, Moved, Row } from "./api.js"
 */

import { get } from "./api.js";
import { button, count, h, visible } from "./dom.js";
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
        h("span.muted", {}, "Empty B: the work tree."),
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
                h("code", {}, "registry publish"),
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
    if (diff.families.length) {
      this.families.append(
        h(
          "details",
          {},
          h("summary", {}, `${diff.families.length} families changed`),
          h(
            "table",
            {},
            h(
              "tbody",
              {},
              ...diff.families.map(({ family, role, added, removed }) =>
                h(
                  "tr",
                  {},
                  h("th", { scope: "row" }, visible(family)),
                  h("td.muted", {}, role),
                  h("td", {}, `+${count(added)}`),
                  h("td", {}, `−${count(removed)}`),
                ),
              ),
            ),
          ),
        ),
      );
    }
    for (const [kind, label] of Object.entries(KINDS)) {
      const rows = diff[/** @type {keyof typeof KINDS} */ (kind)].map((item) => asRow(item, kind));
      const source = listed(rows);
      const grid = new Grid({
        label,
        source,
        size: SMALL,
        caption: (row) => movedCaption(/** @type {Row & Moved} */ (row)),
        empty: h("div.nothing", {}, h("p.muted", {}, "None.")),
        onopen: (index, row) => viewer.open(source, index, row, (to) => grid.activate(to)),
        onfetch: (chosen) => fetchRows(chosen),
      });
      this.grids.push(grid);
      this.columns.append(
        h(
          "section",
          { class: `pictures ${kind}` },
          h("h3", {}, label, " ", h("span.count", {}, count(rows.length))),
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

/** @param {Row & Moved} row */
function movedCaption(row) {
  const caption = captionOf(row);
  if (!row.from && !row.to) return caption;
  const badge = `${row.from} → ${row.to}`;
  return { ...caption, badge, tone: "kept", spoken: `${row.from} becomes ${row.to}` };
}

/**
 * @param {Moved} item
 * @param {string} kind
 * @returns {Row}
 */
function asRow(item, kind) {
  const there = /** @type {Partial<Row>} */ (item);
  return /** @type {Row} */ ({
    here: true,
    outcome: "",
    class: "",
    stage: "",
    decision: null,
    brightness: null,
    contrast: null,
    place: null,
    collection: "",
    ...there,
    id: `${kind}/${item.collection ?? ""}/${item.path}`,
  });
}
