/**
 * A long list of which only the windows that are looked at are fetched.
 *
 * @import { Pictures, Row } from "./api.js"
 */

import { fail } from "./notices.js";

export const WINDOW = 200;

/**
 * Rows by their place in the list, as a grid reads them.
 *
 * @typedef {object} Source
 * @property {number} count
 * @property {(index: number) => Row | undefined} row
 * @property {(first: number, last: number) => void} need Says which rows are looked at.
 * @property {(first: number, last: number) => Promise<Row[]>} rows Fetches them.
 */

/** @implements {Source} */
export class Windows {
  /**
   * @param {(offset: number, limit: number, signal: AbortSignal) => Promise<Pictures>} fetchWindow
   * @param {() => void} onchange Called when rows, or their number, have changed.
   */
  constructor(fetchWindow, onchange) {
    this.fetchWindow = fetchWindow;
    this.onchange = onchange;
    this.count = 0;
    this.total = 0;
    this.known = false;
    /** @type {string[]} */
    this.unmeasured = [];
    /** @type {string[]} */
    this.unread = [];
    /** @type {Map<number, Row[]>} */
    this.windows = new Map();
    /** @type {Map<number, Row[]>} Shown until the new ones are there. */
    this.before = new Map();
    /** @type {Map<number, {gives: Promise<Row[]>, controller: AbortController, isHeld: boolean}>} */
    this.asked = new Map();
  }

  /**
   * Forgets all rows, as others are asked for now.
   *
   * @param {boolean} same Whether they are the same pictures, perhaps changed.
   */
  reset(same) {
    this.stop();
    this.before = same ? new Map([...this.before, ...this.windows]) : new Map();
    this.windows = new Map();
    this.known = false;
    if (!same) this.count = 0;
    this.need(0, 0);
  }

  /** Gives up what is being fetched. */
  stop() {
    for (const { controller } of this.asked.values()) controller.abort();
    this.asked.clear();
  }

  /** @param {number} index */
  row(index) {
    const number = Math.floor(index / WINDOW);
    const rows = this.windows.get(number) ?? this.before.get(number);
    return rows?.[index % WINDOW];
  }

  /**
   * @param {number} first
   * @param {number} last
   */
  need(first, last) {
    const wanted = numbers(first, last);
    for (const [number, { controller, isHeld }] of this.asked) {
      // The first also brings the number of rows.
      if (isHeld || wanted.includes(number) || (!this.known && number === 0)) continue;
      controller.abort();
      this.asked.delete(number);
    }
    for (const number of wanted) this.fetch(number).catch(fail);
  }

  /**
   * @param {number} first
   * @param {number} last
   */
  async rows(first, last) {
    const fetched = numbers(first, last).map((number) => this.fetch(number, true));
    const windows = await Promise.all(fetched);
    const skipped = Math.floor(first / WINDOW) * WINDOW;
    return windows.flat().slice(first - skipped, last - skipped + 1);
  }

  /**
   * @param {number} number
   * @param {boolean} [isHeld] Whether it is fetched even if nobody looks at it any more.
   * @returns {Promise<Row[]>}
   */
  fetch(number, isHeld = false) {
    const there = this.windows.get(number);
    if (there) return Promise.resolve(there);
    const before = this.asked.get(number);
    if (before) {
      before.isHeld ||= isHeld;
      return before.gives;
    }
    const controller = new AbortController();
    const gives = this.fetchWindow(number * WINDOW, WINDOW, controller.signal).then(
      (answer) => {
        if (controller.signal.aborted) throw new DOMException("", "AbortError");
        this.asked.delete(number);
        this.windows.set(number, answer.rows);
        this.before.delete(number);
        this.count = answer.count;
        this.total = answer.total;
        this.unmeasured = answer.unmeasured;
        this.unread = answer.unread;
        this.known = true;
        this.onchange();
        return answer.rows;
      },
      (error) => {
        if (this.asked.get(number)?.controller === controller) this.asked.delete(number);
        throw error;
      },
    );
    this.asked.set(number, { gives, controller, isHeld });
    return gives;
  }
}

/**
 * Rows that are all there.
 *
 * @param {Row[]} rows
 * @returns {Source}
 */
export function listed(rows) {
  return {
    count: rows.length,
    row: (index) => rows[index],
    need: () => {},
    rows: async (first, last) => rows.slice(first, last + 1),
  };
}

/**
 * @param {number} first
 * @param {number} last
 */
function numbers(first, last) {
  const numbers = [];
  for (let number = Math.floor(first / WINDOW); number <= Math.floor(last / WINDOW); number++) {
    numbers.push(number);
  }
  return numbers;
}
