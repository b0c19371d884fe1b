/**
 * One picture, large, with everything known of it; previous and next of the list it was opened from.
 *
 * @import { Picture, Row } from "./api.js"
 * @import { Source } from "./windows.js"
 */

import { get } from "./api.js";
import { decisionButtons } from "./decide.js";
import { append, button, bytes, count, h, measured, named, visible } from "./dom.js";
import { fetchRows } from "./fetching.js";
import { fail } from "./notices.js";
import { registry } from "./open.js";
import { go, place } from "./place.js";
import { selection } from "./selection.js";
import { captionOf, isShowable } from "./tile.js";

/** @typedef {{collection: string, path: string, md5: string}} Named */

class Viewer {
  /** @type {Source | null} */
  source = null;
  index = -1;
  /** @type {Row | null} */
  row = null;
  /** @type {(index: number) => void} */
  onstep = () => {};
  /** Whether going back closes it. */
  wasOpenedHere = false;
  /** @type {AbortController | null} */
  asking = null;

  constructor() {
    this.image = h("div.large");
    this.side = h("div.side", { tabindex: 0, "aria-label": "What is known of it" });
    this.title = h("h2");
    this.position = h("span.muted");
    this.previous = button("‹", () => this.step(-1), {
      title: "Previous (←)",
      "aria-label": "Previous",
    });
    this.next = button("›", () => this.step(1), { title: "Next (→)", "aria-label": "Next" });
    this.select = button("Select", () => this.row && selection.toggle(this.row), {
      title: "Select (x)",
    });
    this.original = h("a.button", { download: true }, "Original");
    this.dialog = h(
      "dialog.viewer",
      {
        "aria-label": "Picture",
        tabindex: -1,
        oncancel: (/** @type {Event} */ event) => {
          event.preventDefault();
          this.close();
        },
        onkeydown: (/** @type {KeyboardEvent} */ event) => this.press(event),
      },
      h(
        "header",
        {},
        this.previous,
        this.next,
        this.title,
        this.position,
        h("span.space"),
        this.select,
        ...decisionButtons(() => (this.row ? [this.row] : [])),
        this.original,
        button("×", () => this.close(), { title: "Close (Esc)", "aria-label": "Close" }),
      ),
      h("div.parts", {}, this.image, this.side),
    );
    document.body.append(this.dialog);
    selection.listeners.add(() => this.mark());
  }

  get isOpen() {
    return this.dialog.open;
  }

  /**
   * @param {Source} source What previous and next go through.
   * @param {number} index
   * @param {Named} row
   * @param {(index: number) => void} [onstep] Told where it went.
   */
  open(source, index, row, onstep = () => {}) {
    this.source = source;
    this.index = index;
    this.onstep = onstep;
    this.wasOpenedHere = true;
    this.goTo(row, false);
  }

  /**
   * @param {Named} row
   * @param {boolean} replace
   */
  goTo({ md5, collection, path }, replace) {
    go({ picture: md5, others: { ...place.others, in: collection, path } }, { replace });
  }

  /** Shows what the address of the page names. */
  async follow() {
    if (!place.picture) {
      this.asking?.abort();
      if (this.dialog.open) this.dialog.close();
      this.row = null;
      this.source = null;
      this.index = -1;
      return;
    }
    if (!this.dialog.open) {
      this.dialog.showModal();
      this.dialog.focus();
    }
    await this.read();
  }

  async read() {
    const { in: collection, path } = place.others;
    const known = this.source?.row(this.index);
    const isKnown = known && known.collection === collection && known.path === path;
    if (isKnown && "here" in known) this.show(known, null);
    this.asking?.abort();
    this.asking = new AbortController();
    const asked = { source: place.source, md5: place.picture };
    const which = path ? { ...asked, collection, path } : asked;
    try {
      const picture = /** @type {Picture} */ (await get("picture", which, this.asking.signal));
      this.show(picture, picture);
    } catch (error) {
      fail(error);
      if (!(error instanceof DOMException) && !isKnown) {
        this.title.textContent = "Not found";
        this.image.replaceChildren(h("p.blank", {}, error instanceof Error ? error.message : ""));
        this.side.replaceChildren();
      }
    }
  }

  /**
   * @param {Row} row
   * @param {Picture | null} picture Null while the rest is asked for.
   */
  show(row, picture) {
    const isOther = this.row?.md5 !== row.md5 || this.row.here !== row.here;
    this.row = row;
    this.title.replaceChildren(named(row.path));
    const number = this.source?.count ?? 0;
    this.position.textContent =
      this.index >= 0 ? `${count(this.index + 1)} of ${count(number)}` : "";
    this.previous.disabled = this.index <= 0;
    this.next.disabled = this.index < 0 || this.index >= number - 1;
    this.original.href = `originals/${row.md5}`;
    this.original.hidden = row.here === false;
    if (isOther || !this.image.firstChild) this.showImage(row);
    this.showFacts(row, picture);
    this.mark();
  }

  /** @param {Row} row */
  showImage(row) {
    if (row.here === false) {
      const fetch = button("Fetch", () => fetchRows([row]), { class: "primary" });
      this.image.replaceChildren(h("p.blank", {}, "Only on the remote, not in this clone.", fetch));
      return;
    }
    if (!isShowable(row)) {
      this.image.replaceChildren(h("p.blank", {}, row.reason || "It cannot be decoded."));
      return;
    }
    const small = h("img.small", { src: `thumbnails/${row.md5}`, alt: "" });
    const large = h("img", { alt: visible(row.path) });
    large.addEventListener("load", () => small.remove());
    large.addEventListener("error", () =>
      this.image.replaceChildren(h("p.blank", {}, "It cannot be shown.")),
    );
    large.src = `previews/${row.md5}`;
    this.image.replaceChildren(small, large);
  }

  /**
   * @param {Row} row
   * @param {Picture | null} picture
   */
  showFacts(row, picture) {
    const { badge, tone } = captionOf(row);
    const size = row.width && row.height ? `${row.width} × ${row.height}` : null;
    const at = row.place ? row.place.map((part) => part.toFixed(5)).join(", ") : null;
    const state = h(
      "p.state",
      {},
      h(`span.pill.${tone}`, {}, row.outcome === "kept" ? "kept" : row.outcome || "not measured"),
      row.class ? h("span.pill", {}, row.class) : null,
      badge === "allowed" || row.decision
        ? h("span.pill.decided", {}, `${row.decision?.verdict}`)
        : null,
      row.pending ? h("span.pill", {}, "pending") : null,
    );
    const facts = section("Picture", [
      pairs({
        Collection: row.collection,
        Path: row.path,
        "Left out by": row.stage,
        Reason: row.reason,
        Size: [size, row.format, bytes(row.size ?? 0)].filter(Boolean).join(" · "),
        Brightness: measured(row.brightness),
        Contrast: measured(row.contrast),
        Taken: row.taken,
        Camera: row.camera,
        Lens: row.lens,
        Place: at,
        Note: row.note,
        md5: row.md5,
      }),
    ]);
    const parts = [state, facts];
    if (row.decision || picture?.decisions.length) {
      const decisions = picture?.decisions.length ? picture.decisions : [row.decision];
      parts.push(section("Decisions", [facets(decisions)]));
    }
    if (picture) {
      parts.push(
        section("Verdicts", [facets(picture.verdicts)]),
        section("Trace", [h("pre", {}, ...picture.trace.map((line) => `${visible(line)}\n`))]),
        section(
          "Other copies",
          picture.copies.map((copy) => this.link(copy)),
        ),
        section("Versions", [facets(picture.versions)]),
        section("EXIF", [facets(picture.exif)]),
      );
    } else parts.push(h("p.muted", {}, "…"));
    this.side.replaceChildren(...parts.filter((part) => part !== null));
  }

  /** @param {Row} copy */
  link(copy) {
    const open = () => {
      this.index = -1;
      this.source = null;
      this.goTo(copy, false);
    };
    return h(
      "p",
      {},
      h("button.link", { type: "button", onclick: open }, named(`${copy.collection}/${copy.path}`)),
    );
  }

  mark() {
    const isSelected = this.row && selection.rows.has(this.row.id);
    this.select.setAttribute("aria-pressed", String(Boolean(isSelected)));
    this.select.textContent = isSelected ? "Selected" : "Select";
  }

  /** @param {number} by */
  async step(by) {
    const to = this.index + by;
    if (!this.source || this.index < 0 || to < 0 || to >= this.source.count) return;
    try {
      const [row] = await this.source.rows(to, to);
      if (!row || this.index + by !== to) return;
      this.index = to;
      this.onstep(to);
      this.goTo(row, true);
    } catch (error) {
      fail(error);
    }
  }

  close() {
    if (this.wasOpenedHere) history.back();
    else {
      const { in: _, path: __, ...others } = place.others;
      go({ picture: "", others });
    }
    this.wasOpenedHere = false;
  }

  /** @param {KeyboardEvent} event */
  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = /** @type {Element} */ (event.target);
    if (event.key === "ArrowLeft") this.step(-1);
    else if (event.key === "ArrowRight") this.step(1);
    else if (event.key === "x" || (event.key === " " && !target.closest("button, a"))) {
      if (this.row) selection.toggle(this.row);
    } else if (event.key === "f" && this.row?.here === false) fetchRows([this.row]);
    else return;
    event.preventDefault();
  }
}

export const viewer = new Viewer();
registry.listeners.add(() => {
  if (viewer.isOpen) viewer.read();
});

/**
 * @param {string} title
 * @param {(Node | null)[]} content
 */
function section(title, content) {
  const there = content.filter((part) => part !== null);
  return there.length ? h("section", {}, h("h3", {}, title), ...there) : null;
}

/** @param {Record<string, unknown>} values */
function pairs(values) {
  const list = h("dl");
  for (const [key, value] of Object.entries(values)) {
    if (value === null || value === undefined || value === "" || value === "–") continue;
    append(list, [h("dt", {}, visible(key)), h("dd", {}, plain(value))]);
  }
  return list.children.length ? list : null;
}

/**
 * Values of any shape: a table for objects that are alike, a list for words.
 *
 * @param {unknown} value
 * @returns {HTMLElement | null}
 */
function facets(value) {
  if (!Array.isArray(value)) {
    return value && typeof value === "object"
      ? pairs(/** @type {Record<string, unknown>} */ (value))
      : null;
  }
  if (!value.length) return null;
  if (value.some((item) => item === null || typeof item !== "object")) {
    return h("ul", {}, ...value.map((item) => h("li", {}, plain(item))));
  }
  return h("div.several", {}, ...value.map((item) => pairs(item)));
}

/** @param {unknown} value */
function plain(value) {
  if (typeof value === "number") return measured(value);
  return h("bdi", {}, visible(typeof value === "string" ? value : JSON.stringify(value)));
}
