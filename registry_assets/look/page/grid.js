/**
 * A grid of pictures that holds only what is in sight, with selection and keyboard.
 *
 * @import { Row } from "./api.js"
 * @import { Source } from "./windows.js"
 * @import { Caption } from "./tile.js"
 * @typedef {{element: HTMLElement, tiles: {row: Row | undefined, tile: HTMLElement}[],
 *   loading?: ReturnType<typeof setTimeout>}} ShownRow
 */

import { h } from "./dom.js";
import { fail } from "./notices.js";
import { keyOf, selection } from "./selection.js";
import { buildTile, captionOf, load, unload } from "./tile.js";
import {
  elementScroll,
  observeElementOffset,
  observeElementRect,
  Virtualizer,
} from "./vendor/virtual-core/index.js";

const GAP = 8;
const CAPTION = 38;
const ASPECT = 0.72;
const PASSING = 70;
const LARGEST_SELECTION = 5000;

let grids = 0;

export class Grid {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  soon;

  /**
   * @param {object} options
   * @param {string} options.label
   * @param {Source} options.source
   * @param {(index: number, row: Row) => void} options.onopen
   * @param {(rows: Row[]) => void} options.onfetch
   * @param {(row: Row) => Caption} [options.caption]
   * @param {number} [options.size] The least width of a tile.
   * @param {HTMLElement} [options.empty] Shown where there is nothing.
   * @param {number} [options.passing] What is in sight for less time, in ms, is not loaded.
   */
  constructor({
    label,
    source,
    onopen,
    onfetch,
    caption = captionOf,
    size = 170,
    empty,
    passing = PASSING,
  }) {
    this.passing = passing;
    this.source = source;
    this.onopen = onopen;
    this.onfetch = onfetch;
    this.caption = caption;
    this.size = size;
    this.empty = empty;
    this.columns = 1;
    this.active = 0;
    this.anchor = 0;
    this.id = `grid${++grids}`;
    /** @type {Map<number, ShownRow>} */
    this.shown = new Map();
    this.sizer = h("div.sizer", { role: "presentation" });
    this.element = h(
      "div.grid",
      {
        tabindex: 0,
        "aria-label": label,
        onclick: (/** @type {MouseEvent} */ event) => this.click(event),
        onkeydown: (/** @type {KeyboardEvent} */ event) => this.press(event),
      },
      this.sizer,
    );
    this.virtualizer = new Virtualizer(this.options());
    this.unmount = this.virtualizer._didMount();
    this.observer = new ResizeObserver(() => this.layOut());
    this.observer.observe(this.element);
    this.deselect = () => this.mark();
    selection.listeners.add(this.deselect);
  }

  /** @returns {import("./vendor/virtual-core/index.js").VirtualizerOptions<HTMLElement, HTMLElement>} */
  options() {
    return {
      count: Math.ceil(this.source.count / this.columns),
      getScrollElement: () => this.element,
      estimateSize: () => this.height() + GAP,
      paddingStart: GAP,
      overscan: 2,
      scrollToFn: elementScroll,
      observeElementRect,
      observeElementOffset,
      scrollPaddingStart: GAP,
      scrollPaddingEnd: GAP,
      onChange: () => this.render(),
    };
  }

  width() {
    const all = this.element.clientWidth - GAP;
    return Math.floor(all / this.columns) - GAP;
  }

  height() {
    return Math.round(this.width() * ASPECT) + CAPTION;
  }

  /** Fits the tiles into the width that there is; what was in sight, or the active one, stays so. */
  layOut() {
    if (!this.element.clientWidth) return;
    const all = this.element.clientWidth - GAP;
    const columns = Math.max(1, Math.floor(all / (this.size + GAP)));
    const wasInSight = this.shown.has(Math.floor(this.active / this.columns));
    const first = (this.virtualizer.range?.startIndex ?? 0) * this.columns;
    const isOther = columns !== this.columns;
    this.columns = columns;
    this.sizer.style.setProperty("--width", `${this.width()}px`);
    this.sizer.style.setProperty("--picture", `${this.height() - CAPTION}px`);
    this.drop();
    this.virtualizer.setOptions(this.options());
    this.virtualizer._willUpdate();
    this.virtualizer.measure();
    this.render();
    if (isOther && wasInSight) this.scrollTo(this.active);
    else if (isOther && first) {
      this.virtualizer.scrollToIndex(Math.floor(first / columns), { align: "start" });
    }
  }

  /** Shows what the source has now. */
  refresh() {
    this.virtualizer.setOptions(this.options());
    this.virtualizer._willUpdate();
    this.active = Math.max(0, Math.min(this.active, this.source.count - 1));
    this.render();
  }

  /**
   * Shows another list, from its start.
   *
   * @param {Source} source
   */
  show(source) {
    this.source = source;
    this.active = this.anchor = 0;
    this.element.scrollTop = 0;
    this.refresh();
  }

  drop() {
    for (const { element } of this.shown.values()) {
      unload(element);
      element.remove();
    }
    this.shown.clear();
  }

  render() {
    const items = this.virtualizer.getVirtualItems();
    this.sizer.style.height = `${this.virtualizer.getTotalSize() + GAP}px`;
    const inSight = new Set(items.map((item) => item.index));
    for (const [number, { element }] of this.shown) {
      if (inSight.has(number) && number * this.columns < this.source.count) continue;
      unload(element);
      element.remove();
      this.shown.delete(number);
    }
    for (const { index, start } of items) {
      if (index * this.columns >= this.source.count) continue;
      const shown = this.shown.get(index);
      if (shown) this.update(index, shown);
      else this.build(index, start);
    }
    if (!this.virtualizer.isScrolling) this.need();
    else this.soon ??= setTimeout(() => this.need(), PASSING);
    this.mark();
  }

  /** Says what it is: a grid, or that there is nothing. */
  describe() {
    const { count } = this.source;
    this.element.setAttribute("role", count ? "grid" : "region");
    /** @type {Record<string, string>} */
    const said = {
      "aria-multiselectable": "true",
      "aria-rowcount": String(Math.ceil(count / this.columns)),
      "aria-colcount": String(this.columns),
      "aria-activedescendant": `${this.id}-${this.active}`,
    };
    for (const [name, value] of Object.entries(said)) {
      if (count) this.element.setAttribute(name, value);
      else this.element.removeAttribute(name);
    }
    if (count) this.empty?.remove();
    else if (this.empty && !this.empty.isConnected) this.element.append(this.empty);
  }

  /** Asks for the rows in sight. */
  need() {
    clearTimeout(this.soon);
    this.soon = undefined;
    const items = this.virtualizer.getVirtualItems();
    const [first, last] = [items[0], items.at(-1)];
    if (!first || !last) return;
    const end = Math.min((last.index + 1) * this.columns, this.source.count);
    this.source.need(first.index * this.columns, end - 1);
  }

  /**
   * @param {number} number
   * @param {number} start
   */
  build(number, start) {
    const element = h("div.row", { role: "row", "aria-rowindex": number + 1 });
    element.style.transform = `translateY(${start}px)`;
    const tiles = [];
    const end = Math.min((number + 1) * this.columns, this.source.count);
    for (let index = number * this.columns; index < end; index++) {
      const row = this.source.row(index);
      const tile = this.tile(row, index);
      element.append(tile);
      tiles.push({ row, tile });
    }
    const shown = { element, tiles };
    this.shown.set(number, shown);
    this.sizer.append(element);
    this.loadSoon(shown);
  }

  /**
   * @param {number} number
   * @param {ShownRow} shown
   */
  update(number, shown) {
    const { element, tiles } = shown;
    const first = number * this.columns;
    const last = Math.min(first + this.columns, this.source.count) - 1;
    while (tiles.length > last - first + 1) tiles.pop()?.tile.remove();
    let isNew = false;
    for (let index = first; index <= last; index++) {
      const row = this.source.row(index);
      const there = tiles[index - first];
      if (there && there.row === row) continue;
      there?.tile.remove();
      const tile = this.tile(row, index);
      element.insertBefore(tile, element.children[index - first] ?? null);
      tiles[index - first] = { row, tile };
      isNew = true;
    }
    if (isNew) this.loadSoon(shown);
  }

  /** @param {ShownRow} shown */
  loadSoon(shown) {
    clearTimeout(shown.loading);
    shown.loading = setTimeout(
      () => shown.element.isConnected && load(shown.element),
      this.passing,
    );
  }

  /**
   * @param {Row | undefined} row
   * @param {number} index
   */
  tile(row, index) {
    const tile = buildTile(row, index, this.caption);
    tile.id = `${this.id}-${index}`;
    tile.setAttribute("aria-colindex", String((index % this.columns) + 1));
    return tile;
  }

  /** Marks which tile is active and which are selected. */
  mark() {
    for (const { tiles } of this.shown.values()) {
      for (const { row, tile } of tiles) {
        const isSelected = Boolean(row) && selection.rows.has(keyOf(/** @type {Row} */ (row)));
        tile.classList.toggle("selected", isSelected);
        tile.setAttribute("aria-selected", String(isSelected));
        tile.classList.toggle("active", tile.dataset.index === String(this.active));
      }
    }
    this.element.classList.toggle("selecting", selection.rows.size > 0);
    this.describe();
  }

  /** @param {number} index */
  scrollTo(index) {
    this.virtualizer.scrollToIndex(Math.floor(index / this.columns), { align: "auto" });
  }

  /**
   * @param {number} index
   * @param {boolean} [extend] Whether all up to there become selected.
   */
  activate(index, extend = false) {
    const from = this.active;
    this.active = Math.max(0, Math.min(index, this.source.count - 1));
    if (extend) this.extend(from);
    else this.anchor = this.active;
    this.scrollTo(this.active);
    this.mark();
  }

  /** @param {number} from */
  extend(from) {
    const ends = [this.anchor, from, this.active];
    this.select(Math.min(...ends), Math.max(...ends));
  }

  /**
   * @param {number} first
   * @param {number} last
   */
  select(first, last) {
    if (last - first >= LARGEST_SELECTION) {
      fail(`At most ${LARGEST_SELECTION} pictures can be selected at once: filter first.`);
      return;
    }
    this.source.rows(first, last).then((rows) => selection.add(rows), fail);
  }

  activeRow() {
    return this.source.row(this.active);
  }

  /** @param {MouseEvent} event */
  click(event) {
    const target = /** @type {Element} */ (event.target);
    const tile = /** @type {HTMLElement | null} */ (target.closest(".tile"));
    if (!tile) return;
    const index = Number(tile.dataset.index);
    const row = this.source.row(index);
    if (!row) return;
    if (target.closest("[data-fetch]")) this.onfetch([row]);
    else if (event.shiftKey) this.activate(index, true);
    else {
      this.activate(index);
      if (target.closest("[data-check]") || event.ctrlKey || event.metaKey) selection.toggle(row);
      else this.onopen(index, row);
    }
  }

  /** @param {KeyboardEvent} event */
  press(event) {
    if (event.altKey || event.target !== this.element) return;
    const row = this.activeRow();
    const page = Math.max(1, Math.floor(this.element.clientHeight / (this.height() + GAP)));
    /** @type {Record<string, number>} */
    const steps = {
      ArrowLeft: -1,
      ArrowRight: 1,
      ArrowUp: -this.columns,
      ArrowDown: this.columns,
      PageUp: -page * this.columns,
      PageDown: page * this.columns,
      Home: -this.active,
      End: this.source.count - 1 - this.active,
    };
    const step = steps[event.key];
    if (event.key === "a" && (event.ctrlKey || event.metaKey)) {
      if (this.source.count) this.select(0, this.source.count - 1);
    } else if (event.ctrlKey || event.metaKey) return;
    else if (step !== undefined) {
      const to = this.active + step;
      const isBeside = Math.abs(step) === 1 || Math.abs(step) > this.columns;
      if (isBeside || (to >= 0 && to < this.source.count)) this.activate(to, event.shiftKey);
    } else if (event.key === "Enter" && row) this.onopen(this.active, row);
    else if ((event.key === " " || event.key === "x") && row) {
      selection.toggle(row);
      this.anchor = this.active;
    } else if (event.key === "f" && row) {
      const chosen = selection.rows.size ? [...selection.rows.values()] : [row];
      this.onfetch(chosen.filter((item) => item.here === false));
    } else if (event.key === "Escape" && selection.rows.size) selection.clear();
    else return;
    event.preventDefault();
  }

  destroy() {
    clearTimeout(this.soon);
    this.observer.disconnect();
    selection.listeners.delete(this.deselect);
    this.drop();
    this.unmount();
  }
}
