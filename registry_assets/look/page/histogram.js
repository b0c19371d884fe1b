/**
 * A histogram that is a filter: a range is brushed, or typed.
 *
 * @import { Histogram as Data } from "./api.js"
 * @typedef {(number | null)[] | string[]} Range Both ends are included; an empty one is open.
 */

import { button, h, measured } from "./dom.js";
import UPlot from "./vendor/uplot/uPlot.js";

const HEIGHT = 74;
const DAY = 86400;
const dark = matchMedia("(prefers-color-scheme: dark)");

/** @param {string} date A day, month or year. */
const seconds = (date) => Date.parse(date.slice(0, 10)) / 1000;

/** @param {number} time */
const dayOf = (time) => new Date(time * 1000).toISOString().slice(0, 10);

/** @param {Element} element @param {string} name */
const colour = (element, name) => getComputedStyle(element).getPropertyValue(name).trim();

export class Histogram {
  /**
   * @param {object} options
   * @param {string} options.label
   * @param {boolean} [options.isTime] Whether the range is of dates.
   * @param {(range: Range | null) => void} [options.onrange] Without it, it only shows.
   * @param {[number, number]} [options.span] What it shows at least, besides the values there are.
   */
  constructor({ label, isTime = false, onrange, span }) {
    this.label = label;
    this.span = span;
    this.isTime = isTime;
    this.onrange = onrange;
    /** @type {Data | null} */
    this.data = null;
    /** @type {Range | null} */
    this.range = null;
    /** @type {number[]} Values that a line is drawn at. */
    this.lines = [];
    /** @type {UPlot | null} */
    this.chart = null;
    this.plot = h("div.plot", { role: "img", "aria-label": `Histogram of ${label}` });
    const kind = isTime ? "date" : "number";
    const change = () => this.typed();
    this.low = h("input", {
      type: kind,
      "aria-label": `${label} from`,
      step: "any",
      onchange: change,
    });
    this.high = h("input", {
      type: kind,
      "aria-label": `${label} to`,
      step: "any",
      onchange: change,
    });
    this.clear = button("×", () => onrange?.(null), {
      class: "quiet",
      "aria-label": `Any ${label}`,
      title: `Any ${label}`,
    });
    this.element = h(
      "div.histogram",
      { role: "group", "aria-label": label },
      this.plot,
      onrange ? h("div.ends", {}, this.low, "–", this.high, this.clear) : null,
    );
    this.draw = this.draw.bind(this);
    dark.addEventListener("change", this.draw);
    this.observer = new ResizeObserver(() => {
      if (this.plot.clientWidth !== this.chart?.width) this.draw();
    });
    this.observer.observe(this.plot);
  }

  /**
   * @param {Data | undefined} data
   * @param {Range | null} range
   */
  update(data, range) {
    this.data = data?.counts.some((n) => n > 0) ? data : null;
    this.range = range;
    this.element.hidden = !this.data && !range;
    this.low.value = String(range?.[0] ?? "");
    this.high.value = String(range?.[1] ?? "");
    if (this.data && !this.isTime) {
      this.low.placeholder = measured(Number(this.data.edges[0]));
      this.high.placeholder = measured(Number(this.data.edges.at(-1)));
    }
    this.clear.hidden = !range;
    this.draw();
  }

  /**
   * Where the bins start, and where the last one ends.
   *
   * @param {Data} data
   * @returns {[number[], number]}
   */
  bins({ edges }) {
    if (!this.isTime) {
      const limits = edges.map(Number);
      return [limits.slice(0, -1), limits.at(-1) ?? 0];
    }
    const starts = edges.map((edge) => seconds(String(edge)));
    const days = { 4: 365, 7: 30 }[String(edges[0]).length] ?? 1;
    return [starts, (starts.at(-1) ?? 0) + days * DAY];
  }

  draw() {
    this.chart?.destroy();
    this.chart = null;
    const width = this.plot.clientWidth;
    if (!this.data || !width) return;
    const [starts, end] = this.bins(this.data);
    const { counts } = this.data;
    const span = [starts[0] ?? 0, end, ...(this.span ?? [])];
    const [bar, line, text] = ["--bar", "--accent", "--muted"].map((name) =>
      colour(this.plot, name),
    );
    this.chart = new UPlot(
      {
        width,
        height: HEIGHT,
        padding: [2, 12, 0, 6],
        legend: { show: false },
        cursor: {
          y: false,
          points: { show: false },
          drag: { x: Boolean(this.onrange), y: false, setScale: false },
          bind: { dblclick: () => null },
        },
        scales: {
          x: { time: this.isTime, range: () => [Math.min(...span), Math.max(...span)] },
          y: { range: (_chart, _low, most) => [0, Math.max(1, most)] },
        },
        axes: [
          {
            stroke: text ?? "",
            font: "10px system-ui",
            size: 18,
            gap: 2,
            space: this.isTime ? 55 : 45,
            grid: { show: false },
            ticks: { show: false },
          },
          { show: false },
        ],
        series: [
          {},
          {
            fill: bar ?? "",
            width: 0,
            points: { show: false },
            paths: UPlot.paths.bars?.({ size: [1, Number.POSITIVE_INFINITY], align: 1, gap: 1 }),
          },
        ],
        tzDate: (time) => UPlot.tzDate(new Date(time * 1000), "UTC"),
        hooks: {
          ready: [(chart) => this.range && this.showRange(chart, this.range)],
          setSelect: [(chart) => this.brushed(chart)],
          draw: [(chart) => this.drawLines(chart, line ?? "")],
        },
      },
      [starts, counts],
      this.plot,
    );
  }

  /**
   * @param {UPlot} chart
   * @param {Range} range
   */
  showRange(chart, range) {
    const [low, high] = this.isTime
      ? [range[0] && seconds(String(range[0])), range[1] && seconds(String(range[1])) + DAY]
      : range;
    const from = typeof low === "number" ? low : Number(chart.scales.x?.min);
    const to = typeof high === "number" ? high : Number(chart.scales.x?.max);
    const all = chart.over.clientWidth;
    const left = Math.max(0, Math.min(all, chart.valToPos(from, "x")));
    const right = Math.max(left + 1, Math.min(all, chart.valToPos(to, "x")));
    const size = { left, width: right - left, top: 0, height: chart.over.clientHeight };
    chart.setSelect(size, false);
  }

  /** @param {UPlot} chart */
  brushed(chart) {
    const { left, width } = chart.select;
    if (!this.onrange || width < 2) return;
    const [low, high] = [chart.posToVal(left, "x"), chart.posToVal(left + width, "x")];
    if (this.isTime) this.onrange([dayOf(low), dayOf(high)]);
    else this.onrange([rounded(low, high - low), rounded(high, high - low)]);
  }

  typed() {
    const ends = [this.low.value, this.high.value];
    if (!ends.some(Boolean)) this.onrange?.(null);
    else this.onrange?.(this.isTime ? ends : ends.map((end) => (end ? Number(end) : null)));
  }

  /**
   * @param {number[]} values
   */
  markLines(values) {
    this.lines = values;
    this.chart?.redraw(false);
  }

  /**
   * @param {UPlot} chart
   * @param {string} stroke
   */
  drawLines(chart, stroke) {
    const { ctx, bbox } = chart;
    ctx.save();
    ctx.strokeStyle = stroke;
    ctx.lineWidth = 2 * devicePixelRatio;
    for (const value of this.lines) {
      const x = chart.valToPos(value, "x", true);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  }

  destroy() {
    dark.removeEventListener("change", this.draw);
    this.observer.disconnect();
    this.chart?.destroy();
  }
}

/**
 * As many digits as a pixel of the brush can tell apart.
 *
 * @param {number} value
 * @param {number} width
 */
function rounded(value, width) {
  const digits = Math.max(0, Math.min(4, Math.ceil(2 - Math.log10(width || 1))));
  return Number(value.toFixed(digits));
}
