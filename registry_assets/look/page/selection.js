/**
 * The pictures that are selected, in whichever view.
 *
 * @import { Row } from "./api.js"
 */

/**
 * What stays the same when the registry changes.
 *
 * @param {{collection: string, path: string}} row
 */
export const keyOf = ({ collection, path }) => `${collection}/${path}`;

export class Selection {
  /** @type {Map<string, Row>} */
  rows = new Map();
  /** @type {Set<() => void>} */
  listeners = new Set();

  /** @param {Row[]} rows */
  add(rows) {
    for (const row of rows) this.rows.set(keyOf(row), row);
    this.tell();
  }

  /** @param {Row} row */
  toggle(row) {
    if (!this.rows.delete(keyOf(row))) this.rows.set(keyOf(row), row);
    this.tell();
  }

  clear() {
    if (!this.rows.size) return;
    this.rows.clear();
    this.tell();
  }

  tell() {
    for (const listener of this.listeners) listener();
  }
}

export const selection = new Selection();
