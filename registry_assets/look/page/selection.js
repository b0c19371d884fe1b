/**
 * The pictures that are selected, in whichever view.
 *
 * @import { Row } from "./api.js"
 */

/** Rows by their id. */
export class Selection {
  /** @type {Map<string, Row>} */
  rows = new Map();
  /** @type {Set<() => void>} */
  listeners = new Set();

  /** @param {Row[]} rows */
  add(rows) {
    for (const row of rows) this.rows.set(row.id, row);
    this.tell();
  }

  /** @param {Row} row */
  toggle(row) {
    if (!this.rows.delete(row.id)) this.rows.set(row.id, row);
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
