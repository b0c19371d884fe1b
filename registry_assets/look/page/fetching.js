/**
 * Pictures that only the remote has.
 *
 * @import { Fetched, Row } from "./api.js"
 */

import { counted } from "./dom.js";
import { fail, say } from "./notices.js";
import { registry } from "./open.js";

/** @param {Row[]} rows */
export async function fetchRows(rows) {
  if (!rows.length) return;
  say(`Fetching ${counted(rows.length, "picture")} …`);
  try {
    const answer = /** @type {Fetched} */ (
      await registry.write("fetch", { md5s: rows.map(({ md5 }) => md5) })
    );
    say(`Fetched ${counted(answer.fetched, "picture")}.`);
    for (const { message } of answer.missing) fail(message);
    registry.tell();
  } catch (error) {
    fail(error);
  }
}
