/** Elements, and values as text. Data reaches the page as text only, never as markup. */

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * Builds an element: `h("p.note", {title: "…"}, "text", child)`.
 *
 * Of the properties, functions `onNAME` listen to events; true sets an empty attribute, and false,
 * null and undefined leave it out.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag | `${Tag}.${string}`} name The tag, with classes behind dots.
 * @param {Record<string, unknown>} [properties]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(name, properties = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(/** @type {Tag} */ (tag));
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(properties)) {
    if (typeof value === "function") {
      element.addEventListener(key.slice(2), /** @type {EventListener} */ (value));
    } else if (value === true) {
      element.setAttribute(key, "");
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(key, String(value));
    }
  }
  append(element, children);
  return element;
}

/**
 * @param {Element} element
 * @param {Child[]} children
 */
export function append(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    element.append(typeof child === "number" ? String(child) : child);
  }
}

/**
 * A button.
 *
 * @param {string} text
 * @param {() => void} action
 * @param {Record<string, unknown>} [properties]
 */
export function button(text, action, properties = {}) {
  return h("button", { type: "button", onclick: action, ...properties }, text);
}

/**
 * A name that may hold anything: controls that would hide or reorder its characters are spelled out.
 *
 * @param {string} name
 */
export function visible(name) {
  return name.replace(
    // Controls, and what changes the direction of text.
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069]/g,
    (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/**
 * A name in running text, isolated from the direction of what stands around it.
 *
 * @param {string} name
 */
export function named(name) {
  return h("bdi.name", { title: visible(name) }, visible(name));
}

const WHOLE = new Intl.NumberFormat("en");
const ROUNDED = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });

/** @param {number} value */
export const count = (value) => WHOLE.format(value);

/** @param {number | null | undefined} value */
export const measured = (value) =>
  value === null || value === undefined ? "–" : ROUNDED.format(value);

/**
 * @param {number} number
 * @param {string} singular
 * @param {string} [plural]
 */
export function counted(number, singular, plural = `${singular}s`) {
  return `${count(number)} ${number === 1 ? singular : plural}`;
}

/** @param {number} bytes */
export function bytes(bytes) {
  if (bytes < 1e3) return `${bytes} B`;
  if (bytes < 1e6) return `${Math.round(bytes / 1e3)} kB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/** @param {string} path */
export const lastPart = (path) => path.slice(path.lastIndexOf("/") + 1);
