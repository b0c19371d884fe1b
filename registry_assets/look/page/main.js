/** Starts the page: tabs, the chosen source, keys that work everywhere. */

import { decide, modal, takeBack } from "./decide.js";
import { button, h, visible } from "./dom.js";
import { Duplicates } from "./duplicates.js";
import { Gallery } from "./gallery.js";
import { fail } from "./notices.js";
import { registry } from "./open.js";
import { viewer } from "./picture.js";
import { go, onMove, place } from "./place.js";
import { selection } from "./selection.js";
import { Thresholds } from "./thresholds.js";
import { Versions } from "./versions.js";

/** @typedef {Gallery | Thresholds | Duplicates | Versions} View */

/** @type {Record<string, {label: string, build: () => View, needs?: "has_measures" | "has_decisions"}>} */
const TABS = {
  gallery: { label: "Gallery", build: () => new Gallery("gallery") },
  thresholds: { label: "Thresholds", build: () => new Thresholds(), needs: "has_measures" },
  decide: { label: "Decisions", build: () => new Gallery("decide"), needs: "has_decisions" },
  duplicates: { label: "Duplicates", build: () => new Duplicates() },
  versions: { label: "Versions", build: () => new Versions() },
};

const KEYS = [
  ["← → ↑ ↓", "move; with Shift, select up to there"],
  ["Page ↑ ↓, Home, End", "move far"],
  ["Enter", "open the picture"],
  ["Esc", "close; in the grid, clear the selection"],
  ["Space, x", "select"],
  ["Ctrl A", "select all that are shown"],
  ["a / d / u", "allow / deny / take the decision back"],
  ["f", "fetch from the remote"],
  ["/", "search names"],
  ["1 … 5", "the tabs"],
  ["?", "these keys"],
];

/** @param {string} id */
const found = (id) => /** @type {HTMLElement} */ (document.getElementById(id));
const sources = /** @type {HTMLSelectElement} */ (found("source"));

/** @type {View | null} */
let view = null;

function offered() {
  return Object.keys(TABS).filter((tab) => {
    const needs = TABS[tab]?.needs;
    return !needs || registry.dataset?.[needs];
  });
}

function showView() {
  view?.destroy();
  const tabs = offered();
  const tab = tabs.includes(place.tab) ? place.tab : "gallery";
  view = TABS[tab]?.build() ?? null;
  found("view").replaceChildren(...(view ? [view.element] : []));
  document.body.classList.toggle("undecidable", !registry.dataset?.has_decisions);
  found("tabs").replaceChildren(
    ...tabs.map((name) =>
      button(TABS[name]?.label ?? name, () => openTab(name), {
        role: "tab",
        id: `tab-${name}`,
        "aria-selected": name === tab,
        "aria-controls": "view",
        tabindex: name === tab ? 0 : -1,
      }),
    ),
  );
  for (const name of tabs) found(`tab-${name}`).setAttribute("aria-selected", String(name === tab));
  found("view").setAttribute("aria-labelledby", `tab-${tab}`);
}

/** @param {string} tab */
function openTab(tab) {
  go({ tab });
  view?.focus();
}

function showSources() {
  const { name, datasets, folders } = registry.answer;
  document.title = `${visible(name)} – look`;
  found("name").textContent = visible(name);
  /** @param {string} label @param {{path: string, name?: string}[]} items */
  const group = (label, items) =>
    items.length
      ? h(
          "optgroup",
          { label },
          ...items.map(({ path, name = "" }) =>
            h("option", { value: path || name }, visible(path || name)),
          ),
        )
      : null;
  const groups = [
    group("Data sets", datasets),
    group(
      "Raw collections",
      folders.filter(({ kind }) => kind === "raw"),
    ),
    group(
      "Imports",
      folders.filter(({ kind }) => kind === "import"),
    ),
    group(
      "Outputs",
      folders.filter(({ kind }) => !["raw", "import"].includes(kind)),
    ),
  ];
  sources.replaceChildren(...groups.filter((item) => item !== null));
  sources.value = place.source;
}

function showKeys() {
  const dialog = modal(
    h(
      "div",
      {},
      h("h2", {}, "Keys"),
      h(
        "dl.keys",
        {},
        ...KEYS.flatMap(([keys, what]) => [h("dt", {}, h("kbd", {}, keys)), h("dd", {}, what)]),
      ),
      h(
        "div.buttons",
        {},
        button("Close", () => dialog.close()),
      ),
    ),
    "Keys",
  );
}

function chosen() {
  const rows = viewer.isOpen ? [viewer.row] : (view?.chosen() ?? []);
  return rows.filter((row) => row !== null && row !== undefined);
}

/** @param {KeyboardEvent} event */
function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const target = /** @type {HTMLElement} */ (event.target);
  if (target.closest("input:not([type=checkbox], [type=radio], [type=range]), textarea, select")) {
    if (event.key === "Escape") view?.focus();
    return;
  }
  if (document.querySelector("dialog.modal[open]")) return;
  const number = Number(event.key);
  if (event.key === "a") decide("allow", chosen());
  else if (event.key === "d") decide("deny", chosen());
  else if (event.key === "u") takeBack(chosen());
  else if (event.key === "?") showKeys();
  else if (viewer.isOpen) return;
  else if (event.key === "/") {
    /** @type {HTMLElement | null} */ (document.querySelector("input.search"))?.focus();
  } else if (number >= 1 && number <= offered().length) openTab(String(offered()[number - 1]));
  else if (event.key.startsWith("Arrow") && target.role === "tab") {
    const tabs = offered();
    const at = tabs.indexOf(place.tab) + (event.key === "ArrowRight" ? 1 : -1);
    const to = tabs[(at + tabs.length) % tabs.length];
    if (to) {
      go({ tab: to });
      found(`tab-${to}`).focus();
    }
  } else return;
  event.preventDefault();
}

async function start() {
  document.addEventListener("keydown", press);
  found("help").addEventListener("click", showKeys);
  sources.addEventListener("change", () => go({ source: sources.value, filters: {}, picture: "" }));
  try {
    await registry.read();
  } catch (error) {
    fail(error);
    found("view").replaceChildren(
      h(
        "div.nothing",
        {},
        h("p", {}, error instanceof Error ? error.message : String(error)),
        button("Try again", () => location.reload()),
      ),
    );
    return;
  }
  showSources();
  if (!registry.sources().length) {
    found("view").replaceChildren(
      h(
        "div.nothing",
        {},
        h("p", {}, "This registry has no pictures yet."),
        h(
          "p",
          {},
          "Put a folder of pictures into raw/ and run ",
          h("code", {}, "registry add NAME"),
        ),
      ),
    );
    registry.listeners.add(() => location.reload());
    registry.watch();
    return;
  }
  onMove((before) => {
    if (before.source !== place.source || before.tab !== place.tab) {
      if (before.source !== place.source) selection.clear();
      sources.value = place.source;
      showView();
    } else view?.update(before);
    if (before.picture !== place.picture || samePicture(before) === false) viewer.follow();
  });
  showView();
  view?.focus();
  viewer.follow();
  registry.listeners.add(() => {
    showSources();
    if (offered().length === found("tabs").children.length) view?.refresh();
    else showView();
  });
  registry.watch();
}

/** @param {import("./place.js").Place} before */
const samePicture = ({ others }) =>
  others.in === place.others.in && others.path === place.others.path;

start();
