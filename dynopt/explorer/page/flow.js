// One optimizer as numbers: its map, run step by step, and its flow, solved with its own error.
//
// A traced optimizer has the functions
//   make(hyper, n) -> [h, ...fields]   the time step and the fields, after refine(n)
//   init, initFlow(fields, x, G) -> y  the first points of the map and of the flow
//   step, field(fields, t, y, G) -> y  the map, and the vector field
// and G[k](x, v1, ..., vk) -> D^k g(x)[v1, ..., vk] are the derivatives of a gradient g.

const EPSILON = 2 ** -52;

/** A run counts as diverged farther from 0 than this: the rule of dynopt.iterate. */
const largestRadius = (x0) => (1 + Math.hypot(...x0)) / Math.sqrt(EPSILON);

const isFinitePoint = (y) => y.every(Number.isFinite);

/** How a run ended; the texts are those of dynopt.Status. */
export const STATUS = {
  ok: "",
  diverged: "diverged",
  nonfinite: "met NaN or infinity",
  unsolved: "stops early",
  singular: "has no finite start",
};

/** The map: points y of phase space, with y[0] and y[1] the position, up to the last finite one. */
export function runMap(optimizer, G, [h, ...fields], x0, steps) {
  const limit = largestRadius(x0);
  const points = [optimizer.init(fields, x0, G)];
  let status = isFinitePoint(points[0]) ? "ok" : "singular";
  for (let k = 0; k < steps && status === "ok"; k++) {
    const y = optimizer.step(fields, k * h, points[k], G);
    const radius = Math.hypot(y[0], y[1]);
    if (radius > limit) status = "diverged";
    else if (!isFinitePoint(y)) status = "nonfinite";
    else points.push(y);
  }
  return { points, status };
}

/**
 * The flow dy/dt = field(t, y) from y(0) = start, by an embedded Runge-Kutta pair with steps that
 * `tolerance` chooses (absolute and relative), and a dense output.
 *
 * - `spacing`, `count`: the position is returned at the times 0, spacing, ..., count * spacing, in
 *   `samples`, two numbers each, as far as the solution goes.
 * - `curve`: the position at many times in each step of the solver, [t, x, y], for a smooth line.
 * - `end`: the last time and the last point of phase space.
 */
export function solveFlow(field, start, spacing, count, tolerance, x0, maxSteps = 2 ** 14) {
  const { a, c, error, dense } = TABLEAU;
  const stages = c.length,
    order = TABLEAU.order,
    dim = start.length,
    limit = largestRadius(x0);
  const samples = [start[0], start[1]],
    curve = [[0, start[0], start[1]]],
    record = recorder(curve);
  const end = spacing * count,
    slopes = new Array(stages);
  let y = start,
    t = 0,
    status = "ok",
    steps = 0;
  slopes[0] = field(0, y);
  if (!isFinitePoint(y) || !isFinitePoint(slopes[0]))
    return { samples, curve, steps, status: "singular", end: [0, y] };
  const reach = (v, i) => Math.max(Math.abs(v), Math.abs(slopes[0][i]) * end);
  const units = y.map((v, i) => Math.min(1, reach(v, i)) || 1); // as dynopt.integrate has them
  let dt = Math.min(spacing, end);
  while (samples.length <= 2 * count && status === "ok") {
    if (++steps > maxSteps) {
      status = "unsolved";
      break;
    }
    const d = Math.min(dt, end - t);
    let next = y;
    for (let s = 1; s < stages; s++) {
      next = combine(y, slopes, a[s - 1], d);
      slopes[s] = field(t + c[s] * d, next);
    }
    const errors = combine(null, slopes, error, d);
    let sum = 0;
    for (let i = 0; i < dim; i++) {
      const size = units[i] + Math.max(Math.abs(y[i]), Math.abs(next[i]));
      sum += (errors[i] / (tolerance * size)) ** 2;
    }
    const scaled = Math.sqrt(sum / dim);
    if (!(scaled <= 1)) {
      dt = d * (Number.isFinite(scaled) ? Math.max(0.1, 0.9 * scaled ** (-1 / order)) : 0.1);
      if (dt < EPSILON * Math.max(t, spacing)) status = "unsolved";
      continue;
    }
    const reached = d === end - t ? end : t + d;
    const at = denseOutput(y, slopes, dense, d);
    for (let j = samples.length / 2; j <= count && j * spacing <= reached * (1 + EPSILON); j++)
      samples.push(...(j === count ? next.slice(0, 2) : at((j * spacing - t) / d)));
    for (let q = 1; q <= 8; q++) record(t + (q / 8) * d, ...at(q / 8));
    [t, y, slopes[0]] = [reached, next, slopes[stages - 1]];
    dt = d * Math.min(5, 0.9 * (scaled || 1e-12) ** (-1 / order));
    if (Math.hypot(y[0], y[1]) > limit) status = "diverged";
    else if (!isFinitePoint(y)) status = "nonfinite";
  }
  return { samples, curve, steps, status, end: [t, y] };
}

/** base + d * sum of factors[j] * slopes[j]; without a base it is the sum alone. */
function combine(base, slopes, factors, d) {
  const dim = base ? base.length : slopes[0].length,
    out = new Array(dim);
  for (let i = 0; i < dim; i++) {
    let sum = 0;
    for (let j = 0; j < factors.length; j++) if (factors[j]) sum += factors[j] * slopes[j][i];
    out[i] = (base ? base[i] : 0) + d * sum;
  }
  return out;
}

/** The position at a fraction of a step: a polynomial, whose highest power comes first. */
function denseOutput(y, slopes, dense, d) {
  const powers = dense[0].map((_, p) =>
    [0, 1].map((i) => {
      let sum = 0;
      for (let j = 0; j < slopes.length; j++) sum += dense[j][p] * slopes[j][i];
      return d * sum;
    }),
  );
  return (fraction) => {
    let [u, v] = [0, 0];
    for (const [a, b] of powers) [u, v] = [u * fraction + a, v * fraction + b];
    return [y[0] + u * fraction, y[1] + v * fraction];
  };
}

/** Adds points to a curve where it has moved visibly; a long one keeps every second, and so on. */
function recorder(curve) {
  const [, x0, y0] = curve[0];
  let extent = 0,
    stride = 1,
    count = 0;
  return (t, x, y) => {
    const [, lastX, lastY] = curve[curve.length - 1];
    extent = Math.max(extent, Math.hypot(x - x0, y - y0));
    if (!(Math.hypot(x - lastX, y - lastY) > 1e-3 * extent) || count++ % stride) return;
    curve.push([t, x, y]);
    if (curve.length < 2 ** 13) return;
    for (let i = 0; 2 * i < curve.length; i++) curve[i] = curve[2 * i];
    curve.length = Math.ceil(curve.length / 2);
    stride *= 2;
  };
}
