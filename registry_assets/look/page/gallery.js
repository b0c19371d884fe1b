/**
 * All pictures of a data set or folder, filtered; and those that somebody decided about.
 *
 * @import { Facets, Row } from "./api.js"
 */

import { get } from "./api.js";
import { decisionButtons } from "./decide.js";
import { button, count, counted, h, visible } from "./dom.js";
import { fetchRows } from "./fetching.js";
import { FilterColumn } from "./filters.js";
import { Grid } from "./grid.js";
import { fail } from "./notices.js";
import { registry } from "./open.js";
import { viewer } from "./picture.js";
import { go, place } from "./place.js";
import { selection } from "./selection.js";
import { captionOf } from "./tile.js";
import { Windows } from "./windows.js";

const SORTS = {
  "": "as listed",
  taken: "date taken",
  brightness: "brightness",
  contrast: "contrast",
  size: "file size",
};
const SIZES = { S: 120, M: 170, L: 260 };
const SIZE = "look-tile-size";
/** Below this width of the window, in pixels, the filters are opened by their button only. */
const NARROW = 620;
const MOST_UNREAD = 5;

export class Gallery {
  /** @param {"gallery" | "decide"} tab */
  constructor(tab) {
    this.isDecided = tab === "decide";
    this.filters = new FilterColumn();
    /** @type {AbortController | null} */
    this.asking = null;
    this.windows = new Windows(
      (offset, limit, signal) =>
        get(
          "pictures",
          {
            source: place.source,
            filters: this.asked(),
            sort: place.others.sort ?? "",
            descending: place.others.descending ? 1 : 0,
            offset,
            limit,
          },
          signal,
        ),
      () => this.arrived(),
    );
    this.unmeasured = h("p.muted.unmeasured", { hidden: true });
    this.number = h("strong", { "aria-live": "polite" });
    this.sort = h("select", { "aria-label": "Sort by", onchange: () => this.sorted() });
    for (const [key, label] of Object.entries(SORTS)) {
      this.sort.append(h("option", { value: key }, label));
    }
    this.descending = button("↑", () => this.turn(), {
      "aria-label": "Descending",
      title: "Direction",
    });
    this.hide = button("Filters", () => this.element.classList.toggle("wide"), { class: "quiet" });
    this.empty = h("div.nothing");
    this.grid = new Grid({
      label: this.isDecided ? "Pictures that were decided about" : "Pictures",
      source: this.windows,
      size: SIZES[readSize()],
      empty: this.empty,
      caption: this.isDecided ? decidedCaption : captionOf,
      onopen: (index, row) => viewer.open(this.windows, index, row, (to) => this.grid.activate(to)),
      onfetch: (rows) => fetchRows(rows),
    });
    this.sizes = h(
      "div.sizes",
      { role: "group", "aria-label": "Size of pictures" },
      ...Object.entries(SIZES).map(([name, size]) =>
        button(name, () => {
          localStorage.setItem(SIZE, name);
          this.grid.size = size;
          this.grid.layOut();
          this.markSize();
        }),
      ),
    );
    this.markSize();
    this.element = h(
      "div.gallery",
      {},
      this.filters.element,
      h(
        "section.pictures",
        {},
        h(
          "div.bar",
          {},
          this.hide,
          this.number,
          h("span.space"),
          this.sort,
          this.descending,
          this.sizes,
          this.filters.chips,
        ),
        this.unmeasured,
        this.grid.element,
        selectionBar(),
      ),
    );
    this.element.classList.toggle("wide", innerWidth < NARROW);
    this.update();
  }

  asked() {
    if (!this.isDecided || place.filters.decision) return place.filters;
    return { ...place.filters, decision: ["allow", "deny", "duplicate"] };
  }

  /** @param {import("./place.js").Place} [before] */
  update(before) {
    if (before && sameList(before)) return;
    this.sort.value = place.others.sort ?? "";
    this.descending.textContent = place.others.descending ? "↓" : "↑";
    this.descending.setAttribute("aria-pressed", String(Boolean(place.others.descending)));
    this.filters.update(null);
    this.windows.reset(false);
    this.grid.show(this.windows);
    this.readFacets();
  }

  /** The registry changed: the same list, with what is true now. */
  refresh() {
    this.windows.reset(true);
    this.grid.refresh();
    this.readFacets();
  }

  async readFacets() {
    this.asking?.abort();
    this.asking = new AbortController();
    try {
      const asked = { source: place.source, filters: this.asked() };
      const facets = /** @type {Facets} */ (await get("facets", asked, this.asking.signal));
      this.filters.update(facets);
    } catch (error) {
      fail(error);
    }
  }

  arrived() {
    const { count: shown, total } = this.windows;
    this.number.textContent =
      shown === total
        ? counted(total, "picture")
        : `${count(shown)} of ${counted(total, "picture")}`;
    this.empty.replaceChildren(...this.advice());
    const { unmeasured } = this.windows;
    this.unmeasured.hidden = !unmeasured.length;
    this.unmeasured.textContent = `Not measured yet: ${unmeasured.map(visible).join(", ")}`;
    this.grid.refresh();
    if (this.grid.element.isConnected && document.activeElement === document.body) this.focus();
  }

  advice() {
    if (!this.windows.known) return [h("p.muted", {}, "…")];
    if (Object.keys(place.filters).length) {
      return [
        h("p", {}, "No picture passes these filters."),
        button("Clear all filters", () => go({ filters: {} })),
      ];
    }
    if (this.isDecided) {
      return [
        h("p", {}, "Nothing was decided yet."),
        h("p.muted", {}, "Select pictures in the gallery and press a to allow or d to deny them."),
      ];
    }
    const { unread } = this.windows;
    if (unread.length) {
      return [
        h("p", {}, "The pictures are not on this machine: "),
        ...unread.slice(0, MOST_UNREAD).map((path) => h("p.muted", {}, visible(path))),
        h("p", {}, "Get them with ", h("code", {}, "dvc pull")),
      ];
    }
    return registry.dataset
      ? [h("p", {}, "This data set has no pictures yet: "), h("code", {}, "registry import")]
      : [h("p", {}, "There are no pictures here.")];
  }

  sorted() {
    go({ others: { ...place.others, sort: this.sort.value } }, { replace: true });
  }

  turn() {
    const descending = place.others.descending ? "" : "1";
    go({ others: { ...place.others, descending } }, { replace: true });
  }

  markSize() {
    for (const choice of this.sizes.children) {
      choice.setAttribute("aria-pressed", String(choice.textContent === readSize()));
    }
  }

  chosen() {
    return selection.rows.size ? [...selection.rows.values()] : [this.grid.activeRow()];
  }

  focus() {
    this.grid.element.focus({ preventScroll: true });
  }

  destroy() {
    this.asking?.abort();
    this.windows.stop();
    this.filters.destroy();
    this.grid.destroy();
  }
}

/** @param {import("./place.js").Place} before */
function sameList(before) {
  /** @param {import("./place.js").Place} at */
  const key = ({ filters, others }) =>
    JSON.stringify([filters, others.sort ?? "", others.descending ?? ""]);
  return key(before) === key(place);
}

/** @returns {keyof typeof SIZES} */
function readSize() {
  const kept = localStorage.getItem(SIZE);
  return kept === "S" || kept === "L" ? kept : "M";
}

/** @param {Row} row */
function decidedCaption(row) {
  const caption = captionOf(row);
  if (!row.decision) return caption;
  const { why, by, date } = row.decision;
  return { ...caption, values: why, spoken: `${caption.spoken}, ${by} ${date}` };
}

/** What can be done with the selected ones; hidden while there are none. */
export function selectionBar() {
  const number = h("strong");
  const bar = h(
    "div.selection",
    { role: "toolbar", "aria-label": "Selected pictures" },
    number,
    ...decisionButtons(() => [...selection.rows.values()]),
    button("Clear", () => selection.clear(), {
      class: "quiet",
      title: "Clear the selection (Esc)",
    }),
  );
  const mark = () => {
    if (!bar.isConnected && shown) {
      selection.listeners.delete(mark);
      return;
    }
    shown = shown || bar.isConnected;
    bar.hidden = !selection.rows.size;
    number.textContent = `${count(selection.rows.size)} selected`;
  };
  let shown = false;
  selection.listeners.add(mark);
  mark();
  return bar;
}
