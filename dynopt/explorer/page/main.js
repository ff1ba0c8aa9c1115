// The explorer: what a reader does changes the scene, what the scene needs is computed, and what
// has changed is drawn.
import { MOST_REFINED, OPTIMIZERS, PROBLEMS, SAMPLES, flowOf, lossAt, mapOf } from "./engine.js";
import { element, makeColumn } from "./column.js";
import { byId, makeControls } from "./controls.js";
import { rangesOf } from "./curves.js";
import { isDark, readInks } from "./drawing.js";
import { pythonOf } from "./python.js";
import { allowed, choicesOf, fromHash, lastStep, requestsOf, sceneOf, toHash } from "./scene.js";
import { headline, refinementWords } from "./words.js";
import { startComputing } from "./worker.js";

const BUDGET = 5; // milliseconds of drawing in a frame, after which other columns wait
const PLAY_TIME = 9000; // milliseconds for the whole run, whatever the time step
const NAMES = OPTIMIZERS.map((optimizer) => optimizer.name);
let scene = fromHash(location.hash);
let isDragging = false,
  keepsWindows = false,
  head = null,
  isPlaying = false,
  announces = false;
let drawingRequest = 0,
  drawingTime = 0,
  savingTimer = 0,
  ranges = null;
const undrawn = new Set(); // columns
const darkScheme = matchMedia("(prefers-color-scheme: dark)");

const columns = OPTIMIZERS.map((_, j) =>
  makeColumn(j, {
    moveStart(x0, dragging) {
      if (!x0.every(Number.isFinite)) return;
      isDragging = dragging;
      change({ x0 });
    },
    setHyper(j, i, value) {
      if (!allowed(OPTIMIZERS[j].hyper[i].kind, value)) return;
      change({ hyper: scene.hyper.with(j, scene.hyper[j].with(i, value)) });
    },
    setStep,
    resize(j) {
      const column = columns[j];
      if (column.result && !isDragging && !keepsWindows) column.fit(scene);
      requestDrawing([column]);
    },
  }),
);
byId("columns").append(...columns.map((column) => column.root));

const showControls = makeControls({
  setProblem(p) {
    stop();
    change({ ...sceneOf(p), on: scene.on, theme: scene.theme, embed: scene.embed });
  },
  setSteps(steps) {
    stop();
    change({ steps, k: -1 });
  },
  setStep,
  moveStart(x0) {
    if (x0.every(Number.isFinite)) change({ x0 });
  },
  toggle(name) {
    change({ shown: { ...scene.shown, [name]: !scene.shown[name] } });
  },
  switchOptimizer(j) {
    const on = scene.on.with(j, !scene.on[j]);
    if (on.includes(true)) change({ on });
  },
  halve() {
    if (scene.n < MOST_REFINED) refine(2 * scene.n);
  },
  double() {
    if (scene.n > 1) refine(scene.n / 2);
  },
  reset() {
    stop();
    change({ ...sceneOf(scene.p), theme: scene.theme, embed: scene.embed });
  },
  theme() {
    change({ theme: isDark() ? "light" : "dark" });
  },
  copy: copyPython,
  play,
});

const computing = startComputing((result) => {
  const column = columns[result.request.j];
  column.result = result;
  if (!column.frame || !(isDragging || keepsWindows)) column.fit(scene);
  requestDrawing([column]);
});

/** The one way to change the scene. */
function change(changes, keeps = false) {
  keepsWindows = keeps;
  const plays = scene.plays && !Object.keys(changes).length; // only until something is changed
  scene = { ...scene, ...changes, plays };
  scene.k = Math.min(scene.k, lastStep(scene));
  if (scene.k === lastStep(scene)) scene.k = -1;
  if (!keeps && !isDragging) for (const column of columns) if (column.result) column.fit(scene);
  computing.want(requestsOf(scene));
  requestDrawing(isDragging ? [] : columns); // while something is dragged, as results come in
  clearTimeout(savingTimer);
  savingTimer = setTimeout(() => {
    try {
      history.replaceState(null, "", toHash(scene));
    } catch {
      /* some frames have no history */
    }
    if (parent !== window) parent.postMessage({ dynopt: choicesOf(scene) }, "*"); // to a notebook
  }, 150);
}

const resultsShown = () =>
  columns.filter((c) => scene.on[c.j] && c.result?.request.p === scene.p).map((c) => c.result);

/** Draw columns in the next frame; all of them, if the scene has changed. */
function requestDrawing(changed = columns) {
  for (const column of changed) undrawn.add(column);
  drawingRequest ||= requestAnimationFrame(() => {
    const began = performance.now();
    drawingRequest = 0;
    draw(began + BUDGET);
    drawingTime = performance.now() - began;
    if (undrawn.size) requestDrawing([]);
  });
}

/** Draw columns until the time `until`, at least one. */
function draw(until) {
  const theme = scene.theme || (darkScheme.matches ? "dark" : "light");
  if (document.documentElement.dataset.theme !== theme || !ranges) {
    document.documentElement.dataset.theme = theme;
    readInks();
  }
  document.body.classList.toggle("embed", scene.embed);
  const results = resultsShown();
  if (results.length && !(isDragging && ranges)) {
    // while something is dragged, the axes stay
    const next = rangesOf(results, PROBLEMS[scene.p].minimum);
    if (JSON.stringify(next) !== JSON.stringify(ranges))
      for (const column of columns) undrawn.add(column);
    ranges = next;
  }
  for (const column of undrawn) {
    undrawn.delete(column);
    column.root.hidden = !scene.on[column.j];
    if (!column.root.hidden && results.includes(column.result)) column.draw(scene, ranges, head);
    if (performance.now() > until) break;
  }
  showControls(scene, isPlaying);
  const title = headline(results, NAMES, scene.n);
  if (title && byId("headline").textContent !== title) byId("headline").textContent = title;
  if (announces && computing.isIdle()) {
    announces = false;
    byId("status").textContent = refinementWords(results, NAMES, scene.n);
  }
}

/** Another time step: the windows stay, so that what shrinks is the error. */
function refine(n) {
  stop();
  const k = scene.k < 0 ? -1 : Math.round((scene.k / scene.n) * n);
  announces = true;
  change({ n, k }, true);
}

function setStep(k) {
  stop();
  change({ k: k >= lastStep(scene) ? -1 : k }, true);
}

function stop() {
  isPlaying = false;
  head = null;
}

/** Map, flow and tie move through the whole run; with reduced motion from step to step. */
function play() {
  if (isPlaying) {
    stop();
    change({}, true);
    return;
  }
  const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const end = scene.steps * SAMPLES,
    first = scene.k < 0 ? 0 : (scene.k * SAMPLES) / scene.n;
  let position = first,
    before = null;
  isPlaying = true;
  const frame = (now) => {
    if (!isPlaying) return;
    position += ((before === null ? 0 : Math.min(60, now - before)) * end) / PLAY_TIME;
    before = now;
    if (position >= end) {
      stop();
      change({ k: -1 }, true);
      return;
    }
    const k = Math.floor((position * scene.n) / SAMPLES);
    if (!isCalm || k !== scene.k) {
      scene = { ...scene, k };
      head = isCalm ? null : position;
      requestDrawing();
    }
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}

async function copyPython() {
  const text = pythonOf(scene, resultsShown());
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // without permission, or from a file: the old way
    const area = element("textarea", { value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  byId("copy").textContent = "Copied";
  setTimeout(() => {
    byId("copy").textContent = "Copy the Python";
  }, 1200);
}

addEventListener("hashchange", () => {
  if (location.hash === toHash(scene)) return;
  stop();
  scene = fromHash(location.hash);
  change({});
});
darkScheme.addEventListener("change", () => requestDrawing());

// For checks from outside.
const known = (items, name, kind) => {
  const index = items.findIndex((item) => item.name === name);
  if (index < 0)
    throw new RangeError(
      `no ${kind} ${name}; there are ${items.map((item) => item.name).join(", ")}`,
    );
  return index;
};
const hyperOf = (j, given) =>
  Array.isArray(given)
    ? given
    : OPTIMIZERS[j].hyper.map(({ name }, i) => given?.[name] ?? PROBLEMS[scene.p].hyper[j][i]);
globalThis.dynopt = {
  names: () => [...NAMES],
  problems: () => PROBLEMS.map((problem) => problem.name),
  problem(name) {
    stop();
    change({ ...sceneOf(known(PROBLEMS, name, "problem")), on: scene.on, theme: scene.theme });
  },
  map(name, hyperparameters, x0, steps, n = 1) {
    const j = known(OPTIMIZERS, name, "optimizer");
    const { points } = mapOf({
      j,
      p: scene.p,
      hyper: hyperOf(j, hyperparameters),
      n,
      x0: [...x0],
      steps,
    });
    return points.map((y) => [y[0], y[1]]);
  },
  flow(name, hyperparameters, x0, steps, { modified = false, n = 1 } = {}) {
    const j = known(OPTIMIZERS, name, "optimizer"),
      hyper = hyperOf(j, hyperparameters);
    const { samples } = flowOf({
      j,
      p: scene.p,
      hyper,
      n,
      x0: [...x0],
      steps,
      modified,
      tolerance: 1e-13,
      per: n,
    });
    return Array.from({ length: samples.length / 2 }, (_, i) => [
      samples[2 * i],
      samples[2 * i + 1],
    ]).slice(0, steps + 1);
  },
  loss: (x) => lossAt(PROBLEMS[scene.p], x),
  isIdle: () => computing.isIdle() && (isPlaying || !drawingRequest),
  state: () => ({
    ...structuredClone(scene),
    head, // of the flow while the scene plays, in samples
    errors: columns.map((c) => (c.result ? c.result.errors[c.result.worst] : null)),
  }),
  drawingTime: () => drawingTime, // of the last frame, in milliseconds
  python: () => pythonOf(scene, resultsShown()),
};

byId("options").open = !matchMedia("(max-width: 720px)").matches;
change({});
if (scene.plays) play();
