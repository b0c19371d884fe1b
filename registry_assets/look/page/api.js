/**
 * What the server answers, and how it is asked: the addresses below the page's own.
 *
 * @typedef {{verdict: string, by: string, why: string, date: string,
 *   only_here: boolean, duplicate_of: string}} Decision
 *
 * @typedef {object} Row
 * @property {number | string} id Of the row, as long as the registry does not change.
 * @property {string} collection
 * @property {string} path
 * @property {string} md5
 * @property {number | null} width
 * @property {number | null} height
 * @property {string} format
 * @property {number | null} size
 * @property {number | null} brightness
 * @property {number | null} contrast
 * @property {string} outcome "kept", or the reason why it is left out.
 * @property {string} stage The stage that left it out.
 * @property {string} reason
 * @property {string} class
 * @property {Decision | null} decision
 * @property {string} taken
 * @property {string} camera
 * @property {string} lens
 * @property {[number, number] | null} place
 * @property {string} note
 * @property {boolean} here Whether the cache of this clone has it.
 * @property {boolean} pending
 *
 * @typedef {{name: string, path: string, has_measures: boolean, has_decisions: boolean,
 *   collections: string[]}} Dataset
 * @typedef {{path: string, kind: string, collection: string | null}} Folder
 * @typedef {{name: string, state: string, author: string | null, datasets: Dataset[], folders: Folder[],
 *   versions: Record<string, string[]>}} Registry
 *
 * @typedef {Record<string, string | string[] | (number | null)[]>} Filters
 * @typedef {{state: string, total: number, count: number, rows: Row[],
 *   unmeasured: string[], unread: string[]}} Pictures
 * @typedef {{edges: number[] | string[], counts: number[]}} Histogram Of times, the edges are the
 *   days, months or years themselves.
 * @typedef {{total: number, count: number,
 *   facets: Record<string, {value: string, count: number}[]>,
 *   histograms: Record<string, Histogram>}} Facets
 *
 * @typedef {{collection: string, path: string, outcome: string}} Other
 * @typedef {{meaning: string, verdicts: {is_kept: boolean, text: string}[],
 *   changes: {becomes: string, parameter: string | null, relation: string | null,
 *     threshold: number | null, command: string | null}[],
 *   kept_instead: Other | null, copies: Other[], frames: Other[], next: string | null}} Explanation
 * @typedef {Row & {explanation: Explanation | null, trace: string[],
 *   versions: {names: string[], outputs: string[]}[], exif: Record<string, string>}} Picture
 *
 * @typedef {{name: string, measure: string, value: number, low: number, high: number,
 *   step: number, symbol: string, met: string, otherwise: string}} Parameter
 * @typedef {Row & {before: string, after: string, value: number, distance: number}} Change
 * @typedef {{in: number, out: number, class: number}} Moves
 * @typedef {{parameters: Parameter[], changes: Moves,
 *   by_collection: (Moves & {collection: string})[], counts: Record<string, [number, number]>,
 *   rows: Change[]}} Thresholds
 *
 * @typedef {{kind: "same" | "alike", across: boolean, pictures: (Row & {distance: number})[]}} Group
 * @typedef {{total: number, groups: Group[], unmeasured: string[]}} Duplicates
 *
 * @typedef {{md5: string, collection: string, path: string, from: string, to: string,
 *   stage: string, here: boolean}} Moved
 * @typedef {{kind: string, what: string, before: unknown, after: unknown, runs: number}} Reason
 * @typedef {{a: string, b: string,
 *   families: {family: string, role: string, added: number, removed: number}[],
 *   came: Moved[], went: Moved[], moved: Moved[], reasons: Reason[], unread: string[]}} Diff
 *
 * @typedef {{stale: string[], next: string}} Written
 * @typedef {Written & {done: string[]}} Decided
 * @typedef {{fetched: number, missing: {md5: string, message: string}[]}} Fetched
 */

/** What the server refuses, with its reason and the next step as text. */
export class Refusal extends Error {
  /**
   * @param {string} message
   * @param {number} status
   */
  constructor(message, status) {
    super(message);
    this.name = "Refusal";
    this.status = status;
  }
}

/**
 * @param {string} address
 * @param {RequestInit} [options]
 * @returns {Promise<any>}
 */
async function ask(address, options) {
  /** @type {Response} */
  let response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Refusal("The server does not answer. Is `registry look` still running?", 0);
  }
  const text = await response.text();
  let answer = null;
  try {
    answer = JSON.parse(text);
  } catch {
    // Not from the API: a proxy, or a server that broke. What it says is shown as it is.
  }
  if (response.ok && answer !== null) return answer;
  const said = answer?.error || answer?.message || text.slice(0, 300) || response.statusText;
  throw new Refusal(String(said), response.status);
}

/**
 * Asks for `api/NAME` with parameters; objects go as JSON.
 *
 * @param {string} name
 * @param {Record<string, unknown>} [parameters]
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export function get(name, parameters = {}, signal) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(parameters)) {
    query.set(key, typeof value === "object" ? JSON.stringify(value) : String(value));
  }
  const asked = query.size ? `?${query}` : "";
  return ask(`api/${name}${asked}`, signal ? { signal } : {});
}

/**
 * Why the server does not show a picture.
 *
 * @param {string} address
 */
export async function reasonAgainst(address) {
  try {
    await ask(address);
  } catch (error) {
    if (error instanceof Refusal) return error.message;
  }
  return "The browser cannot show it.";
}

/**
 * Writes with `api/NAME`.
 *
 * @param {string} name
 * @param {Record<string, unknown>} body
 * @returns {Promise<any>}
 */
export function post(name, body) {
  return ask(`api/${name}`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Registry-Look": "1" },
    body: JSON.stringify(body),
  });
}

/**
 * Keeps at most one request in flight: of the calls meanwhile only the last is made, afterwards.
 *
 * @template Argument
 * @param {(argument: Argument) => Promise<void>} work Reports its own errors.
 * @returns {(argument: Argument) => void}
 */
export function coalesced(work) {
  let busy = false;
  /** @type {{argument: Argument} | null} */
  let waiting = null;
  /** @param {Argument} argument */
  return async function call(argument) {
    waiting = { argument };
    if (busy) return;
    busy = true;
    try {
      while (waiting) {
        const next = waiting;
        waiting = null;
        await work(next.argument);
      }
    } finally {
      busy = false;
    }
  };
}
