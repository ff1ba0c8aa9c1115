// The global error: map and flow of one optimizer at equal times, and what halving makes of it.
import { runMap, solveFlow } from "./flow.js";

export const MOST_REFINED = 16; // parts of the first time step
export const SAMPLES = 2 * MOST_REFINED; // of the flow in each first time step h₀
const TOLERANCE = { full: 1e-12, quick: 1e-8 }; // the dense output errs by up to 100 times as much
const COARSER = 100; // times the tolerance: the other solution, which tells the solver's own error
const CACHED = 64;

const distance = (ax, ay, bx, by) => Math.hypot(ax - bx, ay - by);
const derivatives = (problem) => [0, 1, 2, 3].map((order) => problem[`g${order}`]);
export const lossAt = (problem, x) => problem.loss(x);

/** A function whose last results are kept, by the JSON of its first argument. */
function remembering(compute) {
  const results = new Map();
  return (key, ...rest) => {
    const text = JSON.stringify(key);
    if (!results.has(text)) results.set(text, compute(key, ...rest));
    const result = results.get(text);
    results.delete(text); // the latest comes last
    results.set(text, result);
    if (results.size > CACHED) results.delete(results.keys().next().value);
    return result;
  };
}

export const mapOf = remembering(({ j, p, hyper, n, x0, steps }) => {
  const optimizer = OPTIMIZERS[j];
  return runMap(optimizer, derivatives(PROBLEMS[p]), optimizer.make(hyper, n), x0, steps);
});

/** The flow of time step h₀/n, which only a modified flow reads, at `per` times in each h₀. */
export const flowOf = remembering(({ j, p, hyper, n, x0, steps, modified, tolerance, per }) => {
  const optimizer = OPTIMIZERS[j],
    G = derivatives(PROBLEMS[p]);
  const [, ...fields] = optimizer.make(hyper, n),
    [h0] = optimizer.make(hyper, 1);
  const [first, vectorField] = modified
    ? [optimizer.initModified, optimizer.modified]
    : [optimizer.initFlow, optimizer.field];
  const start = first(fields, x0, G),
    field = (t, y) => vectorField(fields, t, y, G);
  return solveFlow(field, start, h0 / per, steps * per, tolerance, x0);
});

/** The errors at the times k h₀/n, as far as both runs go. */
function errorsOf(map, flow, n) {
  const errors = [],
    stride = SAMPLES / n;
  for (let k = 0; k < map.points.length && 2 * k * stride < flow.samples.length; k++) {
    const [x, y] = map.points[k],
      s = 2 * k * stride;
    errors.push(distance(x, y, flow.samples[s], flow.samples[s + 1]));
  }
  return errors;
}

const largest = (values) => values.reduce((best, v, k) => (v > values[best] ? k : best), 0);

/**
 * Everything that one column shows. `request`: j, p, hyper, n, x0, steps, modified (whether the
 * flow is the modified one) and full (false while something is dragged: a coarser tolerance, and no
 * other time steps).
 */
export function compare(request) {
  const { j, p, hyper, n, x0, steps, modified, full } = request;
  const problem = PROBLEMS[p],
    tolerance = full ? TOLERANCE.full : TOLERANCE.quick;
  const flowAt = (n, tolerance) =>
    flowOf({ j, p, hyper, n: modified ? n : 1, x0, steps, modified, tolerance, per: SAMPLES });
  const errorsAt = (n) =>
    errorsOf(mapOf({ j, p, hyper, n, x0, steps: steps * n }), flowAt(n, tolerance), n);
  const map = mapOf({ j, p, hyper, n, x0, steps: steps * n }),
    flow = flowAt(n, tolerance);
  const errors = errorsOf(map, flow, n),
    worst = largest(errors);
  const extent =
    farthest(flow.samples, x0) ||
    farthest(
      map.points.flatMap((y) => [y[0], y[1]]),
      x0,
    );
  const leavesAt = leavingStep(map, x0, extent, flow.status);
  const others = [];
  if (full)
    for (let m = 1; m <= 2 * n; m *= 2) if (m !== n) others.push({ n: m, errors: errorsAt(m) });
  const finer = others.find((other) => other.n === 2 * n);
  const finerLargest = finer ? finer.errors[largest(finer.errors)] : NaN;
  const isFull = errors.length === steps * n + 1 && finer?.errors.length === 2 * steps * n + 1;
  const solverError = full
    ? maxDifference(flow.samples, flowAt(n, COARSER * tolerance).samples)
    : NaN;
  const lossesOf = (points) => points.map((x) => lossAt(problem, x));
  const samplePoints = pairs(flow.samples);
  return {
    request,
    h: OPTIMIZERS[j].make(hyper, n)[0],
    h0: OPTIMIZERS[j].make(hyper, 1)[0],
    map,
    flow,
    errors,
    worst,
    others,
    extent,
    leavesAt,
    solverError,
    divisor:
      isFull && leavesAt < 0 && finerLargest > 10 * solverError
        ? errors[worst] / finerLargest
        : NaN,
    firstLargest: full
      ? Math.max(...(others.find((other) => other.n === 1)?.errors ?? errors))
      : NaN,
    manner: mannerOf(map, flow, errors, worst, n, extent),
    mapLosses: lossesOf(map.points.map((y) => y.slice(0, 2))),
    flowLosses: lossesOf(samplePoints),
    ...(full ? limitOf(request, problem, samplePoints, flow) : { limit: NaN, isOfEnd: false }),
  };
}

const pairs = (flat) =>
  Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i], flat[2 * i + 1]]);

function farthest(flat, x0) {
  let far = 0;
  for (let i = 0; i + 1 < flat.length; i += 2)
    far = Math.max(far, distance(flat[i], flat[i + 1], ...x0));
  return far;
}

function maxDifference(a, b) {
  let most = 0;
  for (let i = 0; i + 1 < Math.min(a.length, b.length); i += 2)
    most = Math.max(most, distance(a[i], a[i + 1], b[i], b[i + 1]));
  return most;
}

/** The step at which a map leaves for good, or -1: it fails, or ends far from all of its flow. */
function leavingStep(map, x0, extent, flowStatus) {
  const far = map.points.map((y) => distance(y[0], y[1], ...x0));
  const hasLeft = map.status !== "ok" || (flowStatus === "ok" && far.at(-1) > 10 * extent);
  if (!hasLeft) return -1;
  const first = far.findIndex((d) => d > 3 * extent);
  return Math.max(1, first < 0 ? map.points.length : first);
}

/** How the map moves beside its flow, in the words of the pictures of dynopt. */
function mannerOf(map, flow, errors, worst, n, extent) {
  const last = errors.length - 1,
    error = errors[worst];
  if (last === map.points.length - 1 && errors[last] > 0.5 * extent && errors[last] > 0.3 * error)
    return "elsewhere";
  const [x, y] = map.points[worst],
    stride = SAMPLES / n,
    here = worst * stride,
    near = 8 * SAMPLES;
  let nearest = Infinity,
    where = here; // near in time, because a flow crosses itself
  const end = Math.min(flow.samples.length / 2 - 1, here + near);
  for (let s = Math.max(0, here - near); s <= end; s++) {
    const d = distance(x, y, flow.samples[2 * s], flow.samples[2 * s + 1]);
    if (d < nearest) [nearest, where] = [d, s];
  }
  if (nearest < 0.3 * error) return where < here ? "behind" : "ahead";
  return nearest > 0.7 * error ? "beside" : "";
}

/** The largest eigenvalue of the Hessian at some of the points. */
function sharpest(problem, points) {
  const every = Math.max(1, Math.floor(points.length / 200));
  let most = 0;
  for (let i = 0; i < points.length; i += every) {
    const [a, b] = problem.g1(points[i], [1, 0]),
      [c, d] = problem.g1(points[i], [0, 1]);
    const root = ((a - d) / 2) ** 2 + b * c;
    if (root >= 0) most = Math.max(most, (a + d) / 2 + Math.sqrt(root));
  }
  return most;
}

export const rateIndex = (j) =>
  OPTIMIZERS[j].hyper.findIndex(({ name }) => ["learning_rate", "h"].includes(name));

/**
 * The learning rate, or time step, up to which the map is stable on a quadratic of this curvature,
 * with the other hyperparameters as they are. It is NaN if no part of a small step is proportional
 * to the gradient, as with Adam. After refine(n) it is the limit of the finer map, told as the
 * learning rate before refinement.
 */
export function stabilityLimit(j, hyper, n, curvature) {
  const optimizer = OPTIMIZERS[j],
    rate = rateIndex(j);
  if (rate < 0 || !(curvature > 0) || !Number.isFinite(curvature)) return NaN;
  const G = [
    (x) => [curvature * x[0], curvature * x[1]],
    (x, v) => [curvature * v[0], curvature * v[1]],
    () => [0, 0],
  ];
  const run = (value, size, steps) => {
    const changed = hyper.with(rate, value),
      [h, ...fields] = optimizer.make(changed, n);
    let y = optimizer.init(fields, [size, 0], G),
      early = 0,
      late = 0;
    for (let k = 0; k < steps; k++) {
      y = optimizer.step(fields, k * h, y, G);
      const d = Math.abs(y[0]);
      if (k >= steps / 2 - 50 && k < steps / 2) early = Math.max(early, d);
      if (k >= steps - 50) late = Math.max(late, d);
      if (!(d < 1e3 * size)) return { y, grows: true }; // before a clip would bound it
    }
    return { y, grows: late > early };
  };
  const [one] = run(hyper[rate], 1e-6, 1).y,
    [two] = run(hyper[rate], 2e-6, 1).y;
  if (!(Math.abs(two - 2 * one) < 1e-9 * Math.abs(one))) return NaN;
  let [low, high] = [1e-6, 1e6];
  if (run(low, 1e-6, 400).grows || !run(high, 1e-6, 400).grows) return NaN;
  while (high / low > 1.001) {
    const middle = Math.sqrt(low * high);
    if (run(middle, 1e-6, 400).grows) high = middle;
    else low = middle;
  }
  return Math.sqrt(low * high);
}

/**
 * The limit of a column: where the flow's path is curved most, if steps are proportional to small
 * gradients, and else where the flow ends.
 */
function limitOf({ j, hyper, n }, problem, points, flow) {
  const limit = stabilityLimit(j, hyper, n, sharpest(problem, points));
  if (Number.isFinite(limit) || flow.status !== "ok") return { limit, isOfEnd: false };
  return { limit: limitAtEnd(j, hyper, n, problem, flow.end), isOfEnd: true };
}

/**
 * The learning rate, or time step, up to which the map is stable beside a point y of phase space at
 * the time t, linearised as if the position were at rest there: with the memory, such as that of
 * g², that y has. It is NaN where the loss is not curved upwards in every direction.
 */
export function limitAtEnd(j, hyper, n, problem, [t, y]) {
  const optimizer = OPTIMIZERS[j],
    rate = rateIndex(j),
    rest = y.slice(0, 2),
    [h0] = optimizer.make(hyper, n);
  if (rate < 0) return NaN;
  const columns = [problem.g1(rest, [1, 0]), problem.g1(rest, [0, 1])];
  const hessian = (v) => [0, 1].map((i) => columns[0][i] * v[0] + columns[1][i] * v[1]);
  const G = [(x) => hessian([x[0] - rest[0], x[1] - rest[1]]), (_, v) => hessian(v), () => [0, 0]];
  const isStable = (value) => {
    const [h, ...fields] = optimizer.make(hyper.with(rate, value), n),
      now = (t * h) / h0; // after as many steps
    const slopes = y.map((v, i) => {
      const d = i < 2 ? 1e-8 * (1 + Math.abs(v)) : 1e-6 * Math.abs(v) || 1e-12;
      const [a, b] = [d, -d].map((d) => optimizer.step(fields, now, y.with(i, v + d), G));
      return a.map((u, k) => (u - b[k]) / (2 * d));
    });
    return spectralRadius(slopes) < 1 + 1e-5;
  };
  let [low, high] = [1e-6, 1e6];
  if (!isStable(low) || isStable(high)) return NaN;
  while (high / low > 1.001) {
    const middle = Math.sqrt(low * high);
    if (isStable(middle)) low = middle;
    else high = middle;
  }
  return Math.sqrt(low * high);
}

/** The largest absolute value of an eigenvalue, from a very high power of a matrix. */
function spectralRadius(matrix) {
  let power = matrix,
    logarithm = 0;
  for (let exponent = 1; exponent <= 2 ** 20; exponent *= 2) {
    const size = Math.max(...power.flat().map(Math.abs));
    if (!(size > 0 && size < Infinity)) return size;
    power = power.map((row) => row.map((v) => v / size));
    logarithm += Math.log(size) / exponent;
    power = power.map((row) => power[0].map((_, k) => row.reduce((s, v, i) => s + v * power[i][k], 0)));
  }
  return Math.exp(logarithm);
}

/** Answer requests from the page, as its worker. */
export function serve(scope) {
  scope.onmessage = ({ data }) => scope.postMessage(compare(data));
}
