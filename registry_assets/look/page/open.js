/**
 * The registry that is looked at: what the server says of it, and when it changes.
 *
 * @import { Registry } from "./api.js"
 */

import { get, post } from "./api.js";
import { fail, keepSaying, say } from "./notices.js";
import { go, place } from "./place.js";

const EVERY = 3000;
/** What the server says while something is being written. */
const UNSETTLED = "unknown";

/**
 * What the API calls a data set: the path, but for one at the top of the repository.
 *
 * @param {{path: string, name: string}} dataset
 */
export const idOf = ({ path, name }) => path || name;

class OpenRegistry {
  /** @type {Registry} */
  answer = { name: "", state: "", author: "", datasets: [], folders: [], versions: {} };
  state = "";
  lost = false;
  /** How many writes are under way. */
  writing = 0;
  /** @type {Set<() => void>} Called when the registry has changed. */
  listeners = new Set();

  async read() {
    this.answer = /** @type {Registry} */ (await get("registry"));
    this.state = this.answer.state;
    if (!this.sources().includes(place.source)) {
      const first = this.sources()[0];
      if (place.source) {
        fail(`${place.source} is not in this registry any more; ${first ?? "nothing"} is shown.`);
      }
      if (first) go({ source: first }, { replace: true });
    }
  }

  sources() {
    const { datasets, folders } = this.answer;
    return [...datasets.map(idOf), ...folders.map(({ path }) => path)];
  }

  /** The data set that is shown, if it is one. */
  get dataset() {
    return this.answer.datasets.find((dataset) => idOf(dataset) === place.source);
  }

  /**
   * Writes; what that changes is no news.
   *
   * @param {string} name
   * @param {Record<string, unknown>} body
   * @returns {Promise<any>}
   */
  async write(name, body) {
    this.writing++;
    try {
      return await post(name, body);
    } finally {
      this.state = UNSETTLED;
      this.writing--;
    }
  }

  /** Shows what is true now. */
  tell() {
    for (const listener of this.listeners) listener();
  }

  async poll() {
    try {
      const { state } = await get("state");
      if (this.lost) say("The server answers again.");
      this.lost = false;
      if (this.writing || state === UNSETTLED || state === this.state) return;
      const isNews = this.state !== UNSETTLED;
      await this.read();
      if (isNews) {
        const now = new Date().toLocaleTimeString();
        keepSaying("change", `The registry changed; this is how it is at ${now}.`);
      }
      this.tell();
    } catch (error) {
      if (!this.lost) fail(error);
      this.lost = true;
    }
  }

  watch() {
    setInterval(() => {
      if (!document.hidden) this.poll();
    }, EVERY);
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.poll();
    });
  }
}

export const registry = new OpenRegistry();
