/**
 * The column of filters beside the gallery, and the chips of those that are active.
 *
 * @import { Facets, Filters } from "./api.js"
 */

import { button, count, h, measured, visible } from "./dom.js";
import { Histogram } from "./histogram.js";
import { go, place } from "./place.js";

const FACETS = {
  collection: "Collection",
  class: "Class",
  reason: "Kept or left out",
  stage: "Left out by",
  decision: "Decision",
  camera: "Camera",
  place: "Place recorded",
  pending: "To be made again",
};
const HISTOGRAMS = { brightness: "Brightness", contrast: "Contrast", taken: "Date taken" };
/** What a facet may hold alone without being worth showing. */
const KEPT = "kept";
const UNTELLING = ["", KEPT, "no", "none"];
const TYPING = 250;

/** @param {Filters} filters @param {string} key */
const without = (filters, key) => {
  const { [key]: _, ...others } = filters;
  return others;
};

/**
 * @param {string} key
 * @param {string[] | (number | null)[] | string | null} value Null takes the filter away.
 * @param {boolean} [replace]
 */
function setFilter(key, value, replace = false) {
  const others = without(place.filters, key);
  go(
    { filters: value === null || value.length === 0 ? others : { ...others, [key]: value } },
    { replace },
  );
}

/**
 * @param {string} key
 * @param {string} value
 */
function toggle(key, value) {
  const chosen = /** @type {string[]} */ (place.filters[key] ?? []);
  setFilter(
    key,
    chosen.includes(value) ? chosen.filter((item) => item !== value) : [...chosen, value],
  );
}

export class FilterColumn {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  typing;
  /** @type {HTMLElement | null} */
  leftOut = null;

  constructor() {
    this.search = h("input.search", {
      type: "search",
      placeholder: "Search names  ( / )",
      "aria-label": "Search names",
      oninput: () => {
        clearTimeout(this.typing);
        this.typing = setTimeout(() => setFilter("text", this.search.value.trim(), true), TYPING);
      },
    });
    /** @type {Record<string, Histogram>} */
    this.histograms = {};
    /** @type {Record<string, HTMLElement>} */
    this.lists = {};
    /** @type {Record<string, HTMLElement>} */
    this.sections = {};
    for (const [key, label] of Object.entries(HISTOGRAMS)) {
      const chart = new Histogram({
        label: label.toLowerCase(),
        isTime: key === "taken",
        onrange: (range) => setFilter(key, range),
      });
      this.histograms[key] = chart;
      this.sections[key] = h("section", {}, h("h2", {}, label), chart.element);
    }
    for (const [key, label] of Object.entries(FACETS)) {
      const list = h("div.facet", { role: "group", "aria-label": label });
      this.lists[key] = list;
      this.sections[key] = h("details", { open: true }, h("summary", {}, label), list);
    }
    this.element = h(
      "aside.filters",
      { "aria-label": "Filters" },
      this.search,
      ...[
        "reason",
        "class",
        "brightness",
        "contrast",
        "collection",
        "decision",
        "stage",
        "taken",
      ].map((key) => this.sections[key]),
      this.sections.pending,
      this.sections.camera,
      this.sections.place,
    );
    this.chips = h("div.chips", { role: "group", "aria-label": "Active filters" });
  }

  /** @param {Facets | null} facets Null where they are not known yet. */
  update(facets) {
    if (document.activeElement !== this.search) {
      this.search.value = String(place.filters.text ?? "");
    }
    this.showChips();
    if (!facets) return;
    for (const [key, chart] of Object.entries(this.histograms)) {
      const range = /** @type {import("./histogram.js").Range | undefined} */ (place.filters[key]);
      chart.update(facets.histograms[key], range ?? null);
      const section = this.sections[key];
      if (section) section.hidden = chart.element.hidden;
    }
    for (const [key, list] of Object.entries(this.lists)) this.showFacet(key, list, facets);
  }

  /**
   * @param {string} key
   * @param {HTMLElement} list
   * @param {Facets} facets
   */
  showFacet(key, list, facets) {
    const chosen = /** @type {string[]} */ (place.filters[key] ?? []);
    const values = [...(facets.facets[key] ?? [])];
    for (const value of chosen) {
      if (!values.some((item) => item.value === value)) values.push({ value, count: 0 });
    }
    const section = this.sections[key];
    const isTelling = values.length > 1 || (values[0] && !UNTELLING.includes(values[0].value));
    if (section) section.hidden = !chosen.length && !isTelling;
    if (key === "reason" && section) this.offerLeftOut(section, values, chosen);
    const focused = list.contains(document.activeElement)
      ? /** @type {HTMLInputElement} */ (document.activeElement).value
      : null;
    list.replaceChildren(
      ...values.map(({ value, count: number }) =>
        h(
          "label",
          { class: number ? "" : "none", title: visible(value) },
          h("input", {
            type: "checkbox",
            value,
            checked: chosen.includes(value),
            onchange: () => toggle(key, value),
          }),
          h("bdi.name", {}, visible(value) || "none"),
          h("span.count", {}, count(number)),
        ),
      ),
    );
    if (focused !== null) {
      const inputs = /** @type {NodeListOf<HTMLInputElement>} */ (list.querySelectorAll("input"));
      for (const input of inputs) if (input.value === focused) input.focus();
    }
  }

  /**
   * One click for all that is left out.
   *
   * @param {HTMLElement} section
   * @param {{value: string}[]} values
   * @param {string[]} chosen
   */
  offerLeftOut(section, values, chosen) {
    const leftOut = values.map(({ value }) => value).filter((value) => value !== KEPT);
    const isChosen = leftOut.length > 0 && String(chosen) === String(leftOut);
    this.leftOut?.remove();
    this.leftOut = button("all left out", () => setFilter("reason", isChosen ? null : leftOut), {
      class: "link",
      "aria-pressed": isChosen,
    });
    if (leftOut.length && leftOut.length < values.length) section.append(this.leftOut);
  }

  showChips() {
    /** @type {HTMLElement[]} */
    const chips = [];
    /** @param {string} text @param {() => void} action */
    const chip = (text, action) =>
      chips.push(
        h(
          "button.chip",
          { type: "button", onclick: action, "aria-label": `Remove filter ${text}` },
          h("bdi", {}, text),
          " ×",
        ),
      );
    for (const [key, value] of Object.entries(place.filters)) {
      if (key in HISTOGRAMS) {
        const [low, high] = /** @type {(string | number | null)[]} */ (value);
        const [from, to] = [low, high].map((end) =>
          typeof end === "number" ? measured(end) : end,
        );
        chip(`${key} ${from} – ${to}`, () => setFilter(key, null));
      } else if (Array.isArray(value)) {
        for (const item of value) {
          chip(`${key}: ${visible(String(item)) || "none"}`, () => toggle(key, String(item)));
        }
      } else chip(`“${visible(value)}”`, () => setFilter(key, null));
    }
    if (chips.length)
      chips.push(button("Clear all", () => go({ filters: {} }), { class: "quiet" }));
    this.chips.replaceChildren(...chips);
  }

  destroy() {
    clearTimeout(this.typing);
    for (const chart of Object.values(this.histograms)) chart.destroy();
  }
}
