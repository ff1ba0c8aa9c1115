// The two charts of a column: how low the loss is, and how far apart map and flow are.
import { SAMPLES } from "./engine.js";
import { colorOf, inks, paper, ring, stroke, traceLine } from "./drawing.js";
import { powerOfTen } from "./format.js";
import { sampleIndex } from "./plane.js";

export const MARGIN = { left: 34, right: 6, top: 5, bottom: 16 };
const DECADES = { loss: 9, error: 6 },
  TINY = 1e-30;

/** The ranges that all columns share, as powers of ten, and the loss that counts as zero. */
export function rangesOf(results, minimum) {
  const losses = results.flatMap((r) => [...r.mapLosses, ...r.flowLosses]).filter(Number.isFinite);
  const lowest = minimum ?? Math.min(...losses) - 1e-12;
  const logs = (values) => values.filter((v) => v > 0 && Number.isFinite(v)).map(Math.log10);
  const range = (values, decades, most) => {
    const high = Math.min(Math.max(...values), most),
      low = Math.max(Math.min(...values), high - decades);
    return Number.isFinite(high - low) ? [low - 0.2, high + 0.3] : [-1, 1];
  };
  const starts = logs(results.map((r) => r.flowLosses[0] - lowest)),
    solved = results.filter((r) => r.flow.status === "ok"),
    far = logs((solved.length ? solved : results).map((r) => r.extent));
  const errors = results
    .flatMap((r) => [r.errors, ...r.others.map((other) => other.errors)])
    .flat();
  return {
    lowest,
    loss: range(logs(losses.map((v) => v - lowest)), DECADES.loss, Math.max(...starts) + 3),
    error: range(logs(errors), DECADES.error, Math.max(...far) + 2),
  };
}

/** Axes, then what `draw` draws with the scales x(k), in first time steps, and y(value). */
function drawChart(canvas, steps, [low, high], cursor, draw) {
  const [c, w, h] = paper(canvas),
    { left, right, top, bottom } = MARGIN;
  const x = (k) => left + ((w - left - right) * k) / steps;
  const y = (value) => {
    const power = Math.max(low - 9, Math.min(high + 3, Math.log10(Math.max(value, TINY))));
    return top + ((h - top - bottom) * (high - power)) / (high - low);
  };
  Object.assign(c, { font: "11px system-ui,sans-serif", fillStyle: inks.grey, textAlign: "right" });
  const stride = Math.max(1, Math.ceil((high - low) / 4));
  for (let power = Math.floor(high); power >= low; power -= stride) {
    const at = y(10 ** power);
    stroke(c, inks.line, 1, 0.5, (c) => {
      c.moveTo(left, at);
      c.lineTo(w - right, at);
    });
    c.fillText(powerOfTen(power), left - 5, at + 4);
  }
  stroke(c, inks.line, 1, 1, (c) => {
    c.moveTo(left, h - bottom);
    c.lineTo(w - right, h - bottom);
  });
  [
    ["left", 0],
    ["center", Math.round(steps / 2)],
    ["right", steps],
  ].forEach(([align, k], i) => {
    c.textAlign = align;
    c.fillText(i === 2 ? `${k} h₀` : k, x(k), h - 3);
  });
  c.save();
  c.beginPath();
  c.rect(left - 4, 0, w - left + 4, h - bottom + 3);
  c.clip();
  draw(c, x, y);
  if (cursor !== null)
    stroke(c, inks.ink, 1, 0.5, (c) => {
      c.moveTo(x(cursor), 0);
      c.lineTo(x(cursor), h - bottom);
    });
  c.restore();
}

const cursorOf = (scene, head) =>
  head !== null ? head / SAMPLES : scene.k >= 0 ? scene.k / scene.n : null;

export function drawLosses(canvas, result, optimizer, scene, ranges, head) {
  const color = colorOf(optimizer),
    { request, mapLosses, flowLosses } = result,
    { n } = request;
  drawChart(canvas, scene.steps, ranges.loss, cursorOf(scene, head), (c, x, y) => {
    const above = (loss) => y(loss - ranges.lowest);
    if (scene.shown.flow) {
      if (request.modified) c.setLineDash([6, 4]);
      stroke(c, inks.ink, 1.6, 1, (c) =>
        traceLine(
          c,
          flowLosses.map((v, s) => [x(s / SAMPLES), above(v)]),
        ),
      );
      c.setLineDash([]);
    }
    let before = [-9, -9];
    mapLosses.forEach((v, k) => {
      const dot = [x(k / n), above(v)];
      if (Math.hypot(dot[0] - before[0], dot[1] - before[1]) < 6) return;
      before = dot;
      ring(c, dot, 2.4, color, inks.bg, 0.6);
    });
    if (scene.k < 0) return;
    const flowLoss = flowLosses[sampleIndex(request, scene.k)],
      at = x(scene.k / n);
    if (flowLoss !== undefined) ring(c, [at, above(flowLoss)], 4, inks.bg, inks.ink, 1.6);
    if (scene.k < mapLosses.length)
      ring(c, [at, above(mapLosses[scene.k])], 4, color, inks.bg, 1.2);
  });
}

export function drawErrors(canvas, result, optimizer, scene, ranges, head) {
  const color = colorOf(optimizer),
    { request, errors, others, worst, solverError } = result;
  drawChart(canvas, scene.steps, ranges.error, cursorOf(scene, head), (c, x, y) => {
    const curve = (errors, n, width, alpha) =>
      stroke(c, color, width, alpha, (c) =>
        traceLine(
          c,
          errors.map((e, k) => [x(k / n), e > 0 ? y(e) : NaN]),
        ),
      );
    if (solverError > 0)
      stroke(c, inks.ink, 0.7, 0.5, (c) => {
        c.moveTo(x(0), y(solverError));
        c.lineTo(x(scene.steps), y(solverError));
      });
    for (const { n, errors } of others) {
      if (n > request.n) c.setLineDash([1.5, 3.5]); // the next half of the time step
      curve(errors, n, 1, n > request.n ? 0.6 : 0.35);
      c.setLineDash([]);
    }
    curve(errors, request.n, 2.1, 1);
    if (errors[worst] > 0)
      ring(c, [x(worst / request.n), y(errors[worst])], 3.4, color, inks.bg, 1);
    if (scene.k >= 0 && errors[scene.k] > 0)
      ring(c, [x(scene.k / request.n), y(errors[scene.k])], 4.4, color, inks.ink, 1.4);
  });
}
