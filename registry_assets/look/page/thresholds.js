/**
 * Thresholds tried out: what comes in, falls out and changes class, before anything is written.
 *
 * @import { Change, Facets, Moves, Parameter, Thresholds as Answer } from "./api.js"
 */

import { coalesced, get } from "./api.js";
import { button, count, h, measured, named } from "./dom.js";
import { fetchRows } from "./fetching.js";
import { selectionBar } from "./gallery.js";
import { Grid } from "./grid.js";
import { Histogram } from "./histogram.js";
import { fail, sayWritten } from "./notices.js";
import { registry } from "./open.js";
import { viewer } from "./picture.js";
import { place } from "./place.js";
import { selection } from "./selection.js";
import { captionOf } from "./tile.js";
import { listed } from "./windows.js";

/** How long pictures have to stay, in ms, before they are loaded: the slider goes first. */
const DRAGGED_PAST = 300;

export class Thresholds {
  constructor() {
    /** @type {Record<string, number>} */
    this.values = {};
    /** @type {Parameter[]} */
    this.parameters = [];
    /** @type {Map<string, {slider: HTMLInputElement, field: HTMLInputElement, chart: Histogram, was: HTMLElement}>} */
    this.controls = new Map();
    /** @type {Record<string, import("./api.js").Histogram>} */
    this.histograms = {};
    this.sliders = h("div.sliders");
    this.unfit = h("p.unfit", { role: "alert" });
    this.write = button("Write to params.yaml", () => this.save(), { class: "primary" });
    this.undo = button("Undo", () => this.reset());
    this.summary = h("div.summary", { "aria-live": "polite" });
    this.empty = h(
      "div.nothing",
      {},
      h("p", {}, "Nothing changes."),
      h(
        "p.muted",
        {},
        "Drag a slider: the pictures whose verdict would change appear here, nearest to the threshold first.",
      ),
    );
    this.source = listed([]);
    this.grid = new Grid({
      label: "Pictures whose verdict changes",
      source: this.source,
      caption: (row) => changeCaption(/** @type {Change} */ (row)),
      onopen: (index, row) => viewer.open(this.source, index, row, (to) => this.grid.activate(to)),
      onfetch: (rows) => fetchRows(rows),
      empty: this.empty,
      passing: DRAGGED_PAST,
    });
    this.element = h(
      "div.thresholds",
      {},
      h(
        "aside.filters",
        { "aria-label": "Thresholds" },
        this.sliders,
        h("div.buttons", {}, this.undo, this.write),
      ),
      h("section.pictures", {}, this.unfit, this.summary, this.grid.element, selectionBar()),
    );
    this.ask = coalesced((/** @type {Record<string, number>} */ values) => this.read(values));
    this.ask({});
    this.readHistograms();
  }

  /** @param {Record<string, number>} values */
  async read(values) {
    try {
      const asked = { source: place.source, values };
      this.show(/** @type {Answer} */ (await get("thresholds", asked)));
      this.sayUnfit("");
    } catch (error) {
      this.sayUnfit(error instanceof Error ? error.message : String(error));
      this.write.disabled = true;
      if (!this.controls.size) fail(error);
    }
  }

  /**
   * Says why there are no numbers for what is tried: those of before would seem to be its.
   *
   * @param {string} message Empty where there are numbers.
   */
  sayUnfit(message) {
    this.unfit.textContent = message;
    this.summary.hidden = this.grid.element.hidden = Boolean(message);
  }

  async readHistograms() {
    try {
      const answer = /** @type {Facets} */ (
        await get("facets", { source: place.source, filters: {} })
      );
      this.histograms = answer.histograms;
      this.drawCharts();
    } catch (error) {
      fail(error);
    }
  }

  drawCharts() {
    for (const { name, measure } of this.parameters) {
      this.controls.get(name)?.chart.update(this.histograms[measure], null);
    }
  }

  /** @param {Answer} answer */
  show(answer) {
    this.parameters = answer.parameters;
    if (!this.controls.size) {
      this.sliders.replaceChildren(
        ...answer.parameters.map((parameter) => this.control(parameter)),
      );
      this.drawCharts();
    }
    this.mark();
    const { changes, counts, by_collection, rows } = answer;
    this.summary.replaceChildren(
      movesLine(changes),
      h("div.tables", {}, countsTable(counts), collectionsTable(by_collection)),
    );
    if (rows.length && rows.length < changes.in + changes.out + changes.class) {
      this.summary.append(h("p.muted", {}, `The ${rows.length} nearest to the threshold:`));
    }
    this.source = listed(rows);
    this.grid.show(this.source);
  }

  /** @param {Parameter} parameter */
  control({ name, measure, value, low, high, step, symbol, met }) {
    const slider = h("input", {
      type: "range",
      min: low,
      max: high,
      step,
      value,
      "aria-label": name,
      oninput: () => this.set(name, slider.valueAsNumber),
    });
    const field = h("input", {
      type: "number",
      min: low,
      max: high,
      step: "any",
      value,
      "aria-label": `${name}, as a number`,
      oninput: () => {
        if (Number.isFinite(field.valueAsNumber)) this.set(name, field.valueAsNumber);
      },
      // What is no number is not tried: the field goes back to what is.
      onblur: () => this.mark(),
    });
    const chart = new Histogram({ label: measure, span: [low, high] });
    const was = h("span.muted");
    this.controls.set(name, { slider, field, chart, was });
    return h(
      "section.threshold",
      {},
      h("h2", {}, name),
      h("p.muted", {}, `${met}: ${measure} ${symbol} this`),
      chart.element,
      h("div.control", {}, slider, field),
      h("p.muted", {}, was),
    );
  }

  /**
   * @param {string} name
   * @param {number} value
   */
  set(name, value) {
    this.values = { ...this.values, [name]: value };
    this.mark();
    this.ask(this.values);
  }

  /** Shows the values that are tried, and which of them are not written. */
  mark() {
    let isChanged = false;
    for (const { name, value } of this.parameters) {
      const control = this.controls.get(name);
      if (!control) continue;
      const tried = this.values[name] ?? value;
      if (document.activeElement !== control.field) control.field.value = String(tried);
      control.slider.value = String(tried);
      const isOther = tried !== value;
      control.was.textContent = `written: ${measured(value)}`;
      control.was.classList.toggle("changed", isOther);
      control.chart.markLines([tried]);
      isChanged ||= isOther;
    }
    this.write.disabled = this.undo.disabled = !isChanged;
  }

  reset() {
    this.values = {};
    this.mark();
    this.ask({});
  }

  async save() {
    this.write.disabled = true;
    try {
      const body = { dataset: place.source, values: this.values };
      const written = await registry.write("params", body);
      sayWritten("Written to params.yaml", written);
      registry.tell();
    } catch (error) {
      fail(error);
      this.mark();
    }
  }

  update() {}

  refresh() {
    this.ask(this.values);
    this.readHistograms();
  }

  chosen() {
    return selection.rows.size ? [...selection.rows.values()] : [this.grid.activeRow()];
  }

  focus() {
    this.sliders.querySelector("input")?.focus();
  }

  destroy() {
    for (const { chart } of this.controls.values()) chart.destroy();
    this.grid.destroy();
  }
}

/** @param {Change} row */
function changeCaption(row) {
  const badge = `${row.before} → ${row.after}`;
  const values = `${measured(row.value)}  (${measured(row.distance)} off)`;
  return { ...captionOf(row), badge, tone: "kept", values, spoken: `${badge}, ${values}` };
}

/** @param {Moves} moves */
function movesLine(moves) {
  /** @param {"in" | "out" | "class"} kind @param {string} label */
  const part = (kind, label) =>
    h(
      "span",
      { class: `moves ${kind}`, "data-count": moves[kind] },
      h("strong", {}, count(moves[kind])),
      ` ${label}`,
    );
  return h(
    "p.line",
    {},
    part("in", "come in"),
    part("out", "fall out"),
    part("class", "change class"),
  );
}

/** @param {Record<string, [number, number]>} counts */
function countsTable(counts) {
  return h(
    "table",
    {},
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        ...["Outcome", "now", "then", "change"].map((text) => h("th", { scope: "col" }, text)),
      ),
    ),
    h(
      "tbody",
      {},
      ...Object.entries(counts).map(([outcome, [before, after]]) =>
        h(
          "tr",
          { "data-outcome": outcome },
          h("th", { scope: "row" }, outcome),
          h("td", {}, count(before)),
          h("td", {}, count(after)),
          h("td.change", {}, difference(after - before)),
        ),
      ),
    ),
  );
}

/** @param {(Moves & {collection: string})[]} collections */
function collectionsTable(collections) {
  if (!collections.length) return null;
  return h(
    "table",
    {},
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        ...["Collection", "in", "out", "class"].map((text) => h("th", { scope: "col" }, text)),
      ),
    ),
    h(
      "tbody",
      {},
      ...collections.map((moves) =>
        h(
          "tr",
          { "data-collection": moves.collection },
          h("th", { scope: "row" }, named(moves.collection)),
          h("td", {}, count(moves.in)),
          h("td", {}, count(moves.out)),
          h("td", {}, count(moves.class)),
        ),
      ),
    ),
  );
}

/** @param {number} number */
function difference(number) {
  if (!number) return "";
  return number > 0 ? `+${count(number)}` : `−${count(-number)}`;
}
