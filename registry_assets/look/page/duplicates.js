/**
 * Pictures that are there more than once, group by group: one stays, the others are denied.
 *
 * @import { Duplicates as Answer, Group, Row } from "./api.js"
 */

import { get } from "./api.js";
import { decide } from "./decide.js";
import { button, bytes, counted, h, measured, named, visible } from "./dom.js";
import { fetchRows } from "./fetching.js";
import { fail } from "./notices.js";
import { registry } from "./open.js";
import { viewer } from "./picture.js";
import { go, place } from "./place.js";
import { keyOf } from "./selection.js";
import { captionOf, isShowable } from "./tile.js";
import {
  elementScroll,
  measureElement,
  observeElementOffset,
  observeElementRect,
  Virtualizer,
} from "./vendor/virtual-core/index.js";
import { listed } from "./windows.js";

const ESTIMATE = 330;
const LARGEST_DISTANCE = 64;

export class Duplicates {
  constructor() {
    /** @type {Group[]} */
    this.groups = [];
    /** @type {Map<string, string>} Which one stays, by the key of its group. */
    this.staying = new Map();
    /** @type {Map<number, HTMLElement>} */
    this.shown = new Map();
    this.asking = new AbortController();
    this.number = h("strong", { "aria-live": "polite" }, "…");
    this.distance = h("input", {
      type: "number",
      min: 0,
      max: LARGEST_DISTANCE,
      value: place.others.distance ?? "",
      placeholder: "auto",
      "aria-label": "Largest distance",
      title: "How many of the 64 bits of their perceptual hashes may differ",
      onchange: () =>
        go({ others: { ...place.others, distance: this.distance.value } }, { replace: true }),
    });
    this.kind = h(
      "select",
      { "aria-label": "Kind", onchange: () => this.filter() },
      h("option", { value: "" }, "same and alike"),
      h("option", { value: "same" }, "same content"),
      h("option", { value: "alike" }, "alike"),
      h("option", { value: "across" }, "across collections"),
    );
    this.unmeasured = h("p.muted");
    this.sizer = h("div.sizer");
    this.list = h(
      "div.groups",
      { role: "region", tabindex: 0, "aria-label": "Groups of duplicates" },
      this.sizer,
    );
    this.element = h(
      "div.duplicates",
      {},
      h(
        "div.bar",
        {},
        this.number,
        h("span.space"),
        this.kind,
        h("label", {}, "distance up to ", this.distance),
      ),
      this.unmeasured,
      this.list,
    );
    /** @type {Answer} */
    this.answer = { total: 0, groups: [], unmeasured: [] };
    this.virtualizer = new Virtualizer(this.options());
    this.unmount = this.virtualizer._didMount();
    this.read();
  }

  /** @returns {import("./vendor/virtual-core/index.js").VirtualizerOptions<HTMLElement, HTMLElement>} */
  options() {
    return {
      count: this.groups.length,
      getScrollElement: () => this.list,
      estimateSize: () => ESTIMATE,
      getItemKey: (index) => groupKey(/** @type {Group} */ (this.groups[index])),
      overscan: 2,
      scrollToFn: elementScroll,
      observeElementRect,
      observeElementOffset,
      measureElement,
      onChange: () => this.render(),
    };
  }

  async read() {
    this.asking.abort();
    this.asking = new AbortController();
    try {
      const { distance } = place.others;
      const asked = { source: place.source, ...(distance ? { distance } : {}) };
      this.answer = /** @type {Answer} */ (await get("duplicates", asked, this.asking.signal));
      this.filter();
    } catch (error) {
      fail(error);
    }
  }

  filter() {
    const kind = this.kind.value;
    this.groups = this.answer.groups.filter((group) =>
      kind === "across" ? group.across : !kind || group.kind === kind,
    );
    const { groups, total, unmeasured } = this.answer;
    this.number.textContent =
      total > groups.length
        ? `${counted(this.groups.length, "group")} of the first ${groups.length}, of ${total} in all`
        : counted(this.groups.length, "group");
    this.unmeasured.textContent = unmeasured.length
      ? `Not compared by likeness, as they are not measured: ${unmeasured.map(visible).join(", ")}`
      : "";
    for (const element of this.shown.values()) element.remove();
    this.shown.clear();
    this.list.querySelector(".nothing")?.remove();
    if (!this.groups.length) {
      this.list.append(
        h(
          "div.nothing",
          {},
          h("p", {}, "No duplicates."),
          h("p.muted", {}, "A larger distance also finds pictures that are less alike."),
        ),
      );
    }
    this.virtualizer.setOptions(this.options());
    this.virtualizer._willUpdate();
    this.render();
  }

  render() {
    const items = this.virtualizer.getVirtualItems();
    this.sizer.style.height = `${this.virtualizer.getTotalSize()}px`;
    const inSight = new Set(items.map((item) => item.index));
    for (const [index, element] of this.shown) {
      if (inSight.has(index)) continue;
      element.remove();
      this.shown.delete(index);
    }
    for (const { index, start } of items) {
      const group = this.groups[index];
      if (!group) continue;
      let element = this.shown.get(index);
      if (!element) {
        element = this.build(group, index);
        this.shown.set(index, element);
        this.sizer.append(element);
        this.virtualizer.measureElement(element);
      }
      element.style.transform = `translateY(${start}px)`;
    }
  }

  /**
   * @param {Group} group
   * @param {number} index
   */
  build(group, index) {
    const key = groupKey(group);
    const source = listed(group.pictures);
    const staying = this.staying.get(key) ?? keyOf(bestOf(group.pictures));
    const deny = () => {
      const id = this.staying.get(key) ?? keyOf(bestOf(group.pictures));
      const kept = group.pictures.find((row) => keyOf(row) === id);
      const others = group.pictures.filter(
        (row) => keyOf(row) !== id && !isDeniedFor(row.decision, id),
      );
      if (!others.length) fail("The others are denied already.");
      else if (kept)
        decide("deny", others, { why: `duplicate of ${kept.collection}/${kept.path}`, kept });
    };
    const where = group.across ? "across collections" : "within a collection";
    const what = group.kind === "same" ? "Same content" : "Alike";
    return h(
      "div.group",
      { role: "group", "data-index": index, "aria-label": `${what}, ${where}` },
      h(
        "header",
        {},
        h(`span.pill.${group.kind}`, {}, what),
        h("span.muted", {}, `${counted(group.pictures.length, "picture")} · ${where}`),
        h("span.space"),
        registry.dataset?.has_decisions
          ? button("Deny the others …", deny, { class: "deny" })
          : null,
      ),
      h(
        "div.members",
        { role: "radiogroup", "aria-label": "Which one stays" },
        ...group.pictures.map((row, number) =>
          h(
            "figure",
            {},
            picture(row, () => viewer.open(source, number, row)),
            h(
              "figcaption",
              {},
              h(
                "label",
                {},
                h("input", {
                  type: "radio",
                  name: `stays-${key}`,
                  checked: keyOf(row) === staying,
                  onchange: () => this.staying.set(key, keyOf(row)),
                }),
                named(row.path),
              ),
              h("span.muted", {}, h("bdi", {}, visible(row.collection ?? ""))),
              h("span.values", {}, valuesOf(row, group)),
              standing(row),
            ),
          ),
        ),
      ),
    );
  }

  /** @param {import("./place.js").Place} before */
  update(before) {
    if (before.others.distance !== place.others.distance) {
      this.distance.value = place.others.distance ?? "";
      this.read();
    }
  }

  refresh() {
    this.read();
  }

  chosen() {
    return [];
  }

  focus() {
    this.list.focus({ preventScroll: true });
  }

  destroy() {
    this.asking.abort();
    this.unmount();
  }
}

/**
 * Whether a picture is denied already if that one stays; as a duplicate of another it is not.
 *
 * @param {Row["decision"]} decision
 * @param {string} id
 */
const isDeniedFor = (decision, id) =>
  decision?.verdict === "deny" && ["", id].includes(decision.duplicate_of);

/** @param {Group} group */
const groupKey = (group) => `${group.kind} ${group.pictures.map(keyOf).join("|")}`;

/**
 * The one to keep unless somebody chooses another: in, then with the most pixels and bytes.
 *
 * @param {Row[]} rows At least one.
 */
function bestOf(rows) {
  /** @param {Row} row */
  const rank = (row) => [
    row.decision?.verdict === "allow" ? 1 : 0,
    row.outcome === "kept" ? 1 : 0,
    (row.width ?? 0) * (row.height ?? 0),
    row.size ?? 0,
  ];
  return rows.reduce((best, row) => {
    const [one, other] = [rank(row), rank(best)];
    const at = one.findIndex((part, index) => part !== other[index]);
    return at >= 0 && Number(one[at]) > Number(other[at]) ? row : best;
  });
}

/**
 * @param {Row & {distance: number}} row
 * @param {Group} group
 */
function valuesOf(row, group) {
  const size = row.width ? `${row.width} × ${row.height}` : "";
  const light = row.brightness === null ? "" : `☼ ${measured(row.brightness)}`;
  const off = group.kind === "alike" ? `distance ${row.distance ?? 0}` : "";
  return [size, bytes(row.size ?? 0), light, off].filter(Boolean).join(" · ");
}

/** @param {Row} row */
function standing(row) {
  const { badge, tone } = captionOf(row);
  return h(`span.pill.${tone}`, {}, badge || row.class || row.outcome);
}

/**
 * @param {Row} row
 * @param {() => void} open
 */
function picture(row, open) {
  if (row.here === false) {
    const fetch = button("Fetch", () => fetchRows([row]));
    return h("div.thumb.blank", {}, "only on the remote", fetch);
  }
  return h(
    "button.thumb",
    { type: "button", onclick: open, "aria-label": `Open ${visible(row.path)}` },
    isShowable(row)
      ? h("img", { src: `thumbnails/${row.md5}`, alt: "", loading: "lazy", decoding: "async" })
      : h("span.blank", {}, row.reason),
  );
}
