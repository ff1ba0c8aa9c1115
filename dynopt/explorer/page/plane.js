// The plane of the two coordinates: contours, the map as dots, the flow as a line, and ties.
import { PROBLEMS, SAMPLES, lossAt } from "./engine.js";
import {
  arrow,
  colorOf,
  inks,
  isDark,
  label,
  paper,
  ring,
  star,
  stroke,
  traceLine,
} from "./drawing.js";
import { format } from "./format.js";
import { currentStep } from "./scene.js";

const CELLS = [72, 55],
  LEVELS = 12;
const DOTS_APART = 7,
  SHORTEST_TIE = 4,
  MOST_TIES = 12; // in CSS pixels, and in number
const FACTORS = [5, 10, 20, 50, 100, 200, 500, 1000];
const SMALL = 0.02,
  MAGNIFIED = 0.05; // of the diagonal: what is magnified, and up to where

const between = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);
export const sampleOf = (flow, s) =>
  2 * s + 1 < flow.samples.length ? [flow.samples[2 * s], flow.samples[2 * s + 1]] : null;
export const sampleIndex = (request, k) => Math.round((k * SAMPLES) / request.n);

/** The window of a plane: the flow, and the map as far as it stays near; [left, right, low, high]. */
export function windowOf(result, landscape, aspect) {
  const { p, x0 } = result.request,
    { map, flow, extent } = result;
  let [[left, right], [low, high]] = PROBLEMS[p].window;
  if (!landscape) {
    const points = [x0, ...flow.curve.map((row) => row.slice(1))];
    const near = map.points.findIndex((y, k) => k > 4 && between(y, x0) > 2.5 * extent);
    for (const y of near < 0 ? map.points : map.points.slice(0, near))
      if (between(y, x0) < 6 * extent) points.push(y);
    const range = (i) => [
      Math.min(...points.map((q) => q[i])),
      Math.max(...points.map((q) => q[i])),
    ];
    [[left, right], [low, high]] = [range(0), range(1)];
  }
  const grown = landscape ? 1 : 1.2,
    least = 1e-9 * (1 + Math.hypot(...x0));
  let width = Math.max(grown * (right - left), least),
    height = Math.max(grown * (high - low), least);
  if (height < width * aspect) height = width * aspect;
  else width = height / aspect;
  const [x, y] = [(left + right) / 2, (low + high) / 2];
  return [x - width / 2, x + width / 2, y - height / 2, y + height / 2];
}

export const toPixels =
  ([left, right, low, high], w, h) =>
  (x) => [((x[0] - left) / (right - left)) * w, h - ((x[1] - low) / (high - low)) * h];
export const fromPixels =
  ([left, right, low, high], w, h) =>
  (px, py) => [left + (px / w) * (right - left), high - (py / h) * (high - low)];

/** The landscape of a window, kept on the canvas until the window changes. */
function landscapeOf(canvas, p, frame, w, h, lowest) {
  const key = [p, ...frame, w, h, isDark(), lowest].join();
  if (canvas.landscape?.key === key) return canvas.landscape;
  const [nx, ny] = CELLS,
    values = [],
    [left, right, low, high] = frame;
  for (let i = 0; i <= ny; i++)
    for (let j = 0; j <= nx; j++)
      values.push(
        lossAt(PROBLEMS[p], [left + ((right - left) * j) / nx, high - ((high - low) * i) / ny]),
      );
  const finite = values.filter(Number.isFinite),
    least = Math.min(lowest, ...finite);
  const sorted = finite.map((v) => v - least).sort((a, b) => a - b);
  const floor = Math.max(
    sorted[Math.floor(0.004 * sorted.length)] ?? 0,
    1e-7 * (sorted.at(-1) ?? 1),
    1e-12,
  );
  const heights = values.map((v) => Math.log(v - least + floor));
  const bottom = Math.log(sorted[0] + floor),
    span = Math.log(sorted.at(-1) + floor) - bottom || 1;
  const shade = document.createElement("canvas");
  [shade.width, shade.height] = [nx + 1, ny + 1];
  const context = shade.getContext("2d"),
    image = context.createImageData(nx + 1, ny + 1);
  const rgb = (color) => [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));
  const [from, to] = [rgb(inks.low), rgb(inks.high)];
  heights.forEach((v, i) => {
    const fraction = Number.isFinite(v) ? (v - bottom) / span : 1;
    for (let m = 0; m < 3; m++) image.data[4 * i + m] = from[m] + (to[m] - from[m]) * fraction;
    image.data[4 * i + 3] = 255;
  });
  context.putImageData(image, 0, 0);
  const contours = new Path2D();
  for (let m = 1; m < LEVELS; m++)
    traceContour(contours, heights, bottom + (span * m) / LEVELS, w / nx, h / ny);
  return (canvas.landscape = { key, shade, contours });
}

/** One contour by marching squares. */
function traceContour(path, heights, level, sx, sy) {
  const [nx, ny] = CELLS;
  for (let i = 0; i < ny; i++)
    for (let j = 0; j < nx; j++) {
      const corners = [
          [j, i],
          [j + 1, i],
          [j + 1, i + 1],
          [j, i + 1],
        ],
        crossings = [];
      for (let e = 0; e < 4; e++) {
        const [ax, ay] = corners[e],
          [bx, by] = corners[(e + 1) % 4];
        const a = heights[ay * (nx + 1) + ax],
          b = heights[by * (nx + 1) + bx];
        if (!(a < level !== b < level)) continue;
        const f = (level - a) / (b - a);
        crossings.push([(ax + (bx - ax) * f) * sx, (ay + (by - ay) * f) * sy]);
      }
      for (let e = 0; e + 1 < crossings.length; e += 2) {
        path.moveTo(...crossings[e]);
        path.lineTo(...crossings[e + 1]);
      }
    }
}

/** How many times larger small errors are drawn, chosen at the first time step: halving shrinks. */
function magnificationOf(result, shown, frame) {
  const diagonal = Math.hypot(frame[1] - frame[0], frame[3] - frame[2]),
    error = result.firstLargest;
  if (!(shown.magnify && shown.ties) || !(error > 0 && error < SMALL * diagonal)) return 1;
  return FACTORS.filter((f) => f * error <= MAGNIFIED * diagonal).at(-1) ?? 1;
}

/**
 * Draw one plane. `head`: where the flow's head is while the scene plays, in samples, or null.
 * `hovered`: the step over which the pointer is, or -1. Returns the places of the dots, in pixels.
 */
export function drawPlane(canvas, frame, result, optimizer, scene, head, hovered, lowest) {
  const [c, w, h] = paper(canvas),
    color = colorOf(optimizer),
    place = toPixels(frame, w, h);
  const { map, flow, request, errors } = result,
    { shown } = scene;
  const landscape = landscapeOf(canvas, request.p, frame, w, h, lowest);
  const [mx, my] = [w / CELLS[0] / 2, h / CELLS[1] / 2];
  c.drawImage(landscape.shade, -mx, -my, w + 2 * mx, h + 2 * my);
  Object.assign(c, { strokeStyle: inks.contour, lineWidth: 0.7 });
  c.stroke(landscape.contours);
  c.save();
  c.beginPath();
  c.rect(0, 0, w, h);
  c.clip();
  for (const x of PROBLEMS[request.p].minimizers) star(c, place(x));

  const factor = magnificationOf(result, shown, frame);
  const flowAt = (k) => sampleOf(flow, sampleIndex(request, k));
  const dots = map.points.map((y, k) => {
    const z = factor > 1 ? flowAt(k) : null;
    return place(z ? [z[0] + factor * (y[0] - z[0]), z[1] + factor * (y[1] - z[1])] : y);
  });
  const isAll = scene.k < 0 && head === null;
  const end = currentStep(scene),
    last = Math.min(end, dots.length - 1),
    left = result.leavesAt;
  const thread = left < 0 ? last : Math.min(last, left + 1);
  stroke(c, color, 0.8, 0.5, (c) => traceLine(c, dots.slice(0, thread + 1)));
  if (shown.flow) drawFlow(c, result, place, head ?? sampleIndex(request, end));

  const isInside = ([x, y]) => x >= 0 && y >= 0 && x <= w && y <= h;
  const trail = []; // every fourth sample of the flow
  for (let s = 0; 2 * s + 1 < flow.samples.length; s += 4) trail.push(place(sampleOf(flow, s)));
  const isHidden = (q, s) =>
    trail.slice(Math.max(0, s / 4 - 80), s / 4 + 80).some((z) => between(z, q) < 3);
  const tie = (k, bold) => {
    const z = flowAt(k);
    if (!z || !dots[k] || !isInside(dots[k])) return null;
    const [a, b] = [dots[k], place(z)],
      chord = [b[0] - a[0], b[1] - a[1]];
    const inner = [1, 2, 3, 4, 5, 6, 7].map((i) => [
      a[0] + (chord[0] * i) / 8,
      a[1] + (chord[1] * i) / 8,
    ]);
    const hidden = inner.filter((q) => isHidden(q, sampleIndex(request, k))).length;
    const bow = hidden > 4 ? 0.38 : 0; // a tie that the flow would hide is an arc
    const middle = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
    const control = [middle[0] + 2 * bow * chord[1], middle[1] - 2 * bow * chord[0]];
    stroke(c, color, bold ? 3 : 1, bold ? 1 : 0.75, (c) => {
      c.moveTo(...a);
      c.quadraticCurveTo(...control, ...b);
    });
    return {
      map: a,
      flow: b,
      middle: [(middle[0] + control[0]) / 2, (middle[1] + control[1]) / 2],
    };
  };
  const hasTies = shown.ties && shown.flow;
  if (hasTies) {
    const stride = Math.max(1, Math.ceil(scene.steps / MOST_TIES)) * scene.n;
    let before = null;
    for (let k = stride; k <= last; k += stride) {
      const z = flowAt(k);
      if (!z || between(dots[k], place(z)) < SHORTEST_TIE) continue;
      if (before && between(dots[k], before) < DOTS_APART) continue;
      before = dots[k];
      tie(k, false);
    }
  }
  const [fill, edge] = factor > 1 ? [inks.low, color] : [color, inks.low];
  let before = null;
  for (let k = 0; k <= last; k++) {
    if (before && k !== last && between(dots[k], before) < DOTS_APART) continue;
    before = dots[k];
    ring(c, dots[k], factor > 1 ? 2.4 : 2.7, fill, edge, factor > 1 ? 1.3 : 0.8);
  }
  const boldStep = isAll ? longestInside(result, dots, isInside) : last;
  const bold = hasTies && boldStep > 0 ? tie(boldStep, true) : null;
  if (bold) {
    ring(c, bold.flow, 3.2, inks.low, inks.ink, 1.4);
    ring(c, bold.map, 3.4, fill, edge, 1.2);
  }
  if (!isAll && shown.flow) {
    const z = sampleOf(flow, Math.floor(head ?? sampleIndex(request, end)));
    if (z) ring(c, place(z), 4.6, inks.low, inks.ink, 1.8);
    if (dots[last]) ring(c, dots[last], 4.6, color, inks.low, 1.4);
  }
  ring(c, place(request.x0), 6.5, null, inks.ink, 1.4);
  const corner = factor > 1 ? [0, 30, 60, 90].map((x) => [w - 6 - x, 14]) : [];
  const marks = [
    ...corner,
    ...dots.slice(0, last + 1),
    ...flow.curve.map((row) => place(row.slice(1))),
  ];
  if (bold && errors[boldStep] > 0) drawNumber(c, errors[boldStep], bold, marks, color, w, h);
  if (factor > 1) label(c, `error drawn ×${factor}`, w - 6, 14, color, 12, 400, "right");
  if (left > 0 && end >= left)
    label(c, `map leaves at step ${left}`, w / 2, h - 12, color, 13, 650, "center");
  if (hovered >= 0 && hovered <= last) drawInside(c, result, hovered, dots, place, color);
  c.restore();
  return dots.slice(0, last + 1);
}

/** The flow up to a sample in ink, the rest pale; a modified flow is dashed, as in all pictures. */
function drawFlow(c, { flow, request, h0 }, place, until) {
  const time = ((until * h0) / SAMPLES) * (1 + 1e-12);
  let cut = flow.curve.findIndex((row) => row[0] > time);
  if (cut < 0) cut = flow.curve.length;
  const points = flow.curve.map((row) => place(row.slice(1)));
  if (request.modified) c.setLineDash([6, 4]);
  if (cut < points.length)
    stroke(c, inks.ink, 1.7, 0.16, (c) => traceLine(c, points.slice(cut - 1)));
  stroke(c, inks.ink, 1.7, 1, (c) => traceLine(c, points.slice(0, cut)));
  c.setLineDash([]);
}

/** The step of the longest tie that the window shows. */
function longestInside({ errors, worst, leavesAt }, dots, isInside) {
  if (leavesAt < 0) return worst;
  return errors.reduce((best, e, k) => (e > errors[best] && isInside(dots[k]) ? k : best), 0);
}

/** The error beside its tie, where most room is: away from the tie, the dots and the flow. */
function drawNumber(c, error, { map, flow, middle }, marks, color, w, h) {
  const tie = [map, flow].flatMap((end) =>
    [0, 0.25, 0.5, 0.75].map((f) => [
      end[0] + f * (middle[0] - end[0]),
      end[1] + f * (middle[1] - end[1]),
    ]),
  );
  const all = [middle, ...tie, ...marks],
    text = format(error),
    side = 4 + 4 * text.length;
  let best = null,
    most = -1;
  for (const [rx, ry] of [
    [24, 17],
    [40, 28],
  ])
    for (let i = 0; i < 12; i++) {
      const q = [
        middle[0] + rx * Math.cos((i * Math.PI) / 6),
        middle[1] + ry * Math.sin((i * Math.PI) / 6),
      ];
      if (q[0] < side || q[0] > w - side || q[1] < 12 || q[1] > h - 8) continue;
      let room = 20;
      for (const [x, y] of all) {
        room = Math.min(room, Math.hypot((x - q[0]) * 0.7, y - q[1]));
        if (room <= most) break;
      }
      if (room > most) [best, most] = [q, room];
    }
  if (best) label(c, text, ...best, color, 13, 650, "center");
}

/** Inside one step: the step itself, and the negative gradient, drawn as long as the step. */
function drawInside(c, { map, request }, k, dots, place, color) {
  ring(c, dots[k], 7, null, inks.ink, 1.6);
  const next = map.points[k + 1];
  if (!next) return;
  const from = place(map.points[k]),
    to = place(next),
    step = [to[0] - from[0], to[1] - from[1]];
  const [gx, gy] = PROBLEMS[request.p].g0(map.points[k].slice(0, 2));
  const scale = Math.hypot(...step) / Math.hypot(gx, gy);
  if (Number.isFinite(scale)) arrow(c, dots[k], [-gx * scale, gy * scale], inks.grey, 1.8);
  arrow(c, dots[k], step, color, 2.6);
}
