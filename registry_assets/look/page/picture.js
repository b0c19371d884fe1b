/**
 * One picture, large, with everything known of it; previous and next of the list it was opened from.
 *
 * @import { Picture, Row } from "./api.js"
 * @import { Source } from "./windows.js"
 */

import { get, reasonAgainst } from "./api.js";
import { decisionButtons } from "./decide.js";
import { append, button, bytes, count, h, measured, named, visible } from "./dom.js";
import { fetchRows } from "./fetching.js";
import { fail, noticeList } from "./notices.js";
import { registry } from "./open.js";
import { go, place } from "./place.js";
import { keyOf, selection } from "./selection.js";
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
    this.side = h("div.side", { role: "region", tabindex: 0, "aria-label": "What is known of it" });
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
      if (this.dialog.open) {
        this.dialog.close();
        document.querySelector("main")?.before(noticeList());
      }
      this.row = null;
      this.source = null;
      this.index = -1;
      return;
    }
    if (!this.dialog.open) {
      this.dialog.firstElementChild?.after(noticeList());
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
    const { signal } = this.asking;
    try {
      const which = path ? { collection, path } : await this.find(signal);
      const asked = { source: place.source, ...which };
      const picture = /** @type {Picture} */ (await get("picture", asked, signal));
      const others = { ...place.others, in: picture.collection, path: picture.path };
      go({ picture: picture.md5, others }, { replace: true, tell: false });
      this.show(picture, picture);
    } catch (error) {
      if (error instanceof DOMException) return;
      // Of another version, perhaps: then all that is known stands in the list.
      const message = h("p.unfit", {}, error instanceof Error ? error.message : String(error));
      if (isKnown) this.side.lastElementChild?.replaceWith(message);
      else {
        this.title.textContent = "Not found";
        this.image.replaceChildren(h("div.blank", {}, message));
        this.side.replaceChildren();
      }
    }
  }

  /**
   * Where the picture is that a link names by its md5 only.
   *
   * @param {AbortSignal} signal
   */
  async find(signal) {
    const asked = { source: place.source, filters: { text: place.picture }, limit: 1 };
    const { rows } = /** @type {import("./api.js").Pictures} */ (
      await get("pictures", asked, signal)
    );
    if (rows[0]?.md5 !== place.picture) {
      throw new Error(`${place.source} has no picture ${visible(place.picture)}.`);
    }
    return { collection: rows[0].collection, path: rows[0].path };
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
    large.addEventListener("error", async () => {
      const why = await reasonAgainst(`previews/${row.md5}`);
      if (large.isConnected) this.image.replaceChildren(h("p.blank", {}, visible(why)));
    });
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
      registry.dataset?.has_measures ? h(`span.pill.${tone}`, {}, row.outcome) : null,
      row.class ? h("span.pill", {}, row.class) : null,
      row.decision && badge !== "denied" ? h("span.pill", {}, badge) : null,
      row.pending ? h("span.pill", {}, "pending") : null,
    );
    const facts = section("Picture", [
      pairs({
        Collection: row.collection,
        Path: row.path,
        "Left out by": row.stage,
        Reason: row.reason,
        Size: [size, row.format, row.size !== null && bytes(row.size)].filter(Boolean).join(" · "),
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
    if (row.decision) {
      const { verdict, by, why, date } = row.decision;
      parts.push(section("Decision", [pairs({ Verdict: verdict, Why: why, By: by, Date: date })]));
    }
    if (picture) {
      parts.push(
        picture.explanation && this.whyOf(picture.explanation),
        section("Trace", picture.trace.map(traced)),
        section("Versions", picture.versions.map(version)),
        section("EXIF", [pairs(picture.exif)]),
      );
    } else parts.push(h("p.muted", {}, "…"));
    this.side.replaceChildren(...parts.filter((part) => part !== null));
  }

  /** @param {import("./api.js").Explanation} explanation */
  whyOf({ meaning, verdicts, changes, kept_instead, copies, frames, next }) {
    const would = changes.map(({ becomes, parameter, relation, threshold, command }) =>
      parameter
        ? h("li", {}, `${becomes} with ${parameter} ${relation} ${measured(threshold)}`)
        : h("li", {}, `${becomes} with `, h("code", {}, visible(command ?? ""))),
    );
    /** @param {string} label @param {import("./api.js").Other[]} others */
    const links = (label, others) =>
      others.length ? [h("h4", {}, label), ...others.map((other) => this.link(other))] : [];
    return section("Why", [
      meaning ? h("p", {}, visible(meaning)) : null,
      h(
        "ul.verdicts",
        {},
        ...verdicts.map(({ is_kept, text }) =>
          h("li", { class: is_kept ? "in" : "out" }, visible(text)),
        ),
      ),
      ...(would.length ? [h("h4", {}, "It would be"), h("ul", {}, ...would)] : []),
      ...links("Kept instead", kept_instead ? [kept_instead] : []),
      ...links("Other copies", copies),
      ...links("Frames", frames),
      ...(next ? [h("h4", {}, "Next"), h("code", {}, visible(next))] : []),
    ]);
  }

  /** @param {import("./api.js").Other} other */
  link({ collection, path, outcome }) {
    const open = () => {
      this.index = -1;
      this.source = null;
      this.goTo({ md5: "…", collection, path }, true);
    };
    const name = named(`${collection}/${path}`);
    return h("p", {}, h("button.link", { type: "button", onclick: open }, name), ` ${outcome}`);
  }

  mark() {
    const isSelected = this.row && selection.rows.has(keyOf(this.row));
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
    append(list, [h("dt", {}, visible(key)), h("dd", {}, h("bdi", {}, visible(String(value))))]);
  }
  return list.children.length ? list : null;
}

/** @param {string} line */
function traced(line) {
  return h(
    "div",
    { class: line.startsWith(" ") ? "traced muted" : "traced" },
    visible(line.trim()),
  );
}

/** @param {{names: string[], outputs: string[]}} held */
function version({ names, outputs }) {
  const list = h("ul", {}, ...outputs.map((output) => h("li", {}, visible(output))));
  return h("details", {}, h("summary", {}, names.map(visible).join(", ")), list);
}
