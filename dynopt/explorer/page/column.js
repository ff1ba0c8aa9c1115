// One column: the name and the equations of an optimizer, its plane, its sliders and its charts.
import { OPTIMIZERS, SAMPLES, rateIndex } from "./engine.js";
import { MARGIN, drawErrors, drawLosses } from "./curves.js";
import { colorOf, makeCanvas } from "./drawing.js";
import { format } from "./format.js";
import { drawPlane, fromPixels, sampleOf, toPixels, windowOf } from "./plane.js";
import { round } from "./scene.js";
import { columnWords, divisorWords, lossWords, stepWords } from "./words.js";

export function element(tag, properties = {}, ...children) {
  const { dataset, style, ...rest } = properties,
    made = Object.assign(document.createElement(tag), rest);
  for (const [name, value] of Object.entries(dataset ?? {})) made.dataset[name] = value;
  for (const [name, value] of Object.entries(style ?? {})) made.style.setProperty(name, value);
  made.append(...children);
  return made;
}

// A slider has 1000 places: a positive number from 1e-5 to 1e3, a decay rate from 0 to 0.999.
const PLACES = 1000;
const placeOf = (kind, value) =>
  kind === "rate" ? (-Math.log10(1 - value) / 3) * PLACES : ((Math.log10(value) + 5) / 8) * PLACES;
const valueAt = (kind, place) =>
  kind === "rate"
    ? Math.max(0, 1 - round(10 ** ((-place / PLACES) * 3), 2))
    : round(10 ** ((place / PLACES) * 8 - 5));
const REACH = 34,
  HOVER = 9; // CSS pixels from the start, and from a dot

/**
 * `actions`: what a reader can do in a column: moveStart(x, isDragging), setHyper(j, i, value),
 * setStep(k), resize(j). The column draws what `show` is given.
 */
export function makeColumn(j, actions) {
  const optimizer = OPTIMIZERS[j],
    id = `optimizer-${j}`;
  const canvas = (className, role) => makeCanvas({ className, role });
  const plane = Object.assign(canvas("plane", "application"), { tabIndex: 0 });
  const [loss, error] = [canvas("chart", "img"), canvas("chart", "img")];
  const words = element("p", { className: "words" }),
    lossRow = element("span"),
    errorRow = element("span");
  const tip = element("div", { className: "tip", hidden: true, role: "status" }),
    rows = element("tbody");
  const sliders = optimizer.hyper.flatMap(({ name, symbol, kind, slides }, i) => {
    if (!slides) return [];
    const input = element("input", { type: "range", min: 0, max: PLACES, step: 1 });
    input.setAttribute("aria-label", `${name} of ${optimizer.name}`);
    input.addEventListener("input", () =>
      actions.setHyper(j, i, valueAt(kind, Number(input.value))),
    );
    const tick = element("i", { className: "tick", hidden: true }),
      output = element("output");
    const row = element(
      "div",
      { className: "slider" },
      element("span", { textContent: symbol, title: name }),
      element("span", { className: "track" }, input, tick),
      output,
    );
    return [{ i, kind, name, input, tick, output, row }];
  });
  const equation = (className, text) =>
    element("p", { className: `equation ${className}`, textContent: text, title: text });
  const flowEquation = equation("flow", optimizer.flow);
  const heads = ["k", "t", "map", "flow", "error", "loss"].map((text) =>
    element("th", { scope: "col", textContent: text }),
  );
  const table = element(
    "details",
    {},
    element("summary", { textContent: "Numbers" }),
    element("table", {}, element("thead", {}, element("tr", {}, ...heads)), rows),
  );
  table.addEventListener("toggle", () => {
    if (table.open && column.result) fillTable();
  });
  const root = element(
    "section",
    { className: "column" },
    element("h2", { textContent: optimizer.name, id, title: optimizer.name }),
    equation("map", optimizer.map),
    flowEquation,
    words,
    element("div", { className: "frame" }, plane, tip),
    element("div", { className: "sliders" }, ...sliders.map((s) => s.row)),
    element("p", { className: "row" }, "How low? ", lossRow),
    loss,
    element("p", { className: "row" }, "How far apart? ", errorRow),
    error,
    table,
  );
  root.setAttribute("aria-labelledby", id);

  const column = { j, root, frame: null, result: null, dots: [], hovered: -1 };
  let scene = null,
    shownAs = null;
  const aspect = () => plane.clientHeight / plane.clientWidth || 0.72;
  const position = (event) => {
    const box = plane.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const coordinates = (event) => {
    const box = plane.getBoundingClientRect();
    return fromPixels(
      column.frame,
      box.width,
      box.height,
    )(...position(event)).map((v) => round(v, 5));
  };

  /** Fit the window to the result; not while something is dragged or halved, which moves in it. */
  column.fit = (scene) => {
    column.frame = windowOf(column.result, scene.shown.landscape, aspect());
  };

  column.draw = (nextScene, ranges, head) => {
    scene = nextScene;
    const { result } = column;
    root.style.setProperty("--color", colorOf(optimizer));
    if (!result || !column.frame) return;
    shownAs = { ranges, head };
    column.dots = drawPlane(
      plane,
      column.frame,
      result,
      optimizer,
      scene,
      head,
      column.hovered,
      ranges.lowest,
    );
    drawLosses(loss, result, optimizer, scene, ranges, head);
    drawErrors(error, result, optimizer, scene, ranges, head);
    const lines = columnWords(result, scene, ranges.lowest).map((parts) =>
      parts.map(({ text, strong, alarm }) =>
        strong
          ? element("b", { textContent: strong })
          : element("span", { textContent: text ?? alarm, className: alarm ? "alarm" : "" }),
      ),
    );
    const sentences = lines.map((parts) => parts.map((part) => part.textContent).join(""));
    words.replaceChildren(...lines[0], element("br"), ...lines[1]);
    flowEquation.textContent = result.request.modified
      ? "modified: y′ = f₁ + h f₂"
      : optimizer.flow;
    lossRow.textContent = lossWords(result, ranges.lowest);
    errorRow.textContent = divisorWords(result);
    plane.setAttribute(
      "aria-label",
      `${optimizer.name} in the plane of the two coordinates: ${sentences.join("; ")}. ` +
        "Arrow keys move the start, farther with shift; key i tells the inside of the last step.",
    );
    loss.setAttribute("aria-label", `Loss of ${optimizer.name} over time: ${lossRow.textContent}.`);
    error.setAttribute(
      "aria-label",
      `Global error of ${optimizer.name} over time: at most ` +
        `${format(result.errors[result.worst])} ${errorRow.textContent}.`,
    );
    for (const { i, kind, name, input, tick, output } of sliders) {
      const value = scene.hyper[j][i];
      if (document.activeElement !== input) input.value = placeOf(kind, value);
      output.textContent = format(value, kind === "rate" ? 4 : 3);
      input.setAttribute("aria-valuetext", output.textContent);
      const place = i === rateIndex(j) ? placeOf("positive", result.limit) : NaN;
      tick.hidden = !(place > 0 && place < PLACES);
      if (!tick.hidden) {
        tick.style.left = `calc(8px + (100% - 16px) * ${place / PLACES})`;
        const where = result.isOfEnd
          ? "where the flow ends, with the memory that it has there"
          : "where the flow's path is curved most";
        tick.title = input.title = `stable up to ${format(result.limit, 3)} ${where}`;
      }
    }
    if (table.open) fillTable();
  };

  /** The numbers behind the pictures, at about ten steps. */
  function fillTable() {
    const { result } = column,
      { errors, map, flow, mapLosses, h, request } = result,
      every = Math.ceil(map.points.length / 11);
    const cells = [];
    for (let k = 0; k < map.points.length; k += every) {
      const z = sampleOf(flow, Math.round((k * SAMPLES) / request.n));
      const point = (x) =>
        x
          ? x
              .slice(0, 2)
              .map((v) => format(v, 3))
              .join(", ")
          : "–";
      cells.push([
        k,
        format(k * h, 3),
        point(map.points[k]),
        point(z),
        format(errors[k] ?? NaN, 3),
        format(mapLosses[k], 3),
      ]);
    }
    rows.replaceChildren(
      ...cells.map((row) =>
        element("tr", {}, ...row.map((text) => element("td", { textContent: text }))),
      ),
    );
  }

  let pointer = null, // of the drag that moves the start
    hasMoved = false;
  plane.addEventListener(
    "touchstart",
    (event) => {
      // elsewhere a touch scrolls
      const box = plane.getBoundingClientRect(),
        [x, y] = toPixels(column.frame, box.width, box.height)(scene.x0);
      const touch = event.touches[0];
      if (Math.hypot(touch.clientX - box.left - x, touch.clientY - box.top - y) < REACH)
        event.preventDefault();
    },
    { passive: false },
  );
  plane.addEventListener("pointerdown", (event) => {
    if (!column.frame) return;
    pointer = event.pointerId;
    hasMoved = false;
    plane.setPointerCapture(pointer);
    hover(-1);
    if (event.pointerType !== "touch") actions.moveStart(coordinates(event), true);
  });
  plane.addEventListener("pointermove", (event) => {
    if (pointer === event.pointerId) {
      hasMoved = true;
      actions.moveStart(coordinates(event), true);
    } else if (pointer === null) hover(nearestDot(position(event)), position(event));
  });
  plane.addEventListener("pointerup", (event) => {
    if (pointer === null) return;
    pointer = null;
    const dot = event.pointerType === "touch" && !hasMoved ? nearestDot(position(event)) : -1;
    if (dot >= 0) hover(dot, position(event)); // a finger cannot point without touching
    else actions.moveStart(coordinates(event), false);
  });
  plane.addEventListener("pointercancel", () => {
    if (pointer !== null) actions.moveStart(scene.x0, false);
    pointer = null;
  });
  plane.addEventListener("resize", () => actions.resize(j));
  plane.addEventListener("pointerleave", (event) => event.pointerType !== "touch" && hover(-1));
  plane.addEventListener("blur", () => hover(-1));
  plane.addEventListener("keydown", (event) => {
    if (event.key === "i" && column.frame) hover(column.hovered < 0 ? column.dots.length - 1 : -1);
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[
      event.key
    ];
    if (!move || !column.frame) return;
    event.preventDefault();
    const size = (column.frame[1] - column.frame[0]) * (event.shiftKey ? 0.1 : 0.02);
    actions.moveStart(
      scene.x0.map((v, i) => round(v + move[i] * size, 5)),
      false,
    );
  });

  function nearestDot([x, y]) {
    let nearest = HOVER,
      step = -1;
    column.dots.forEach((dot, k) => {
      const d = Math.hypot(dot[0] - x, dot[1] - y);
      if (d < nearest) [nearest, step] = [d, k];
    });
    return step;
  }
  function hover(k, [x, y] = [0, 0]) {
    if (k === column.hovered) return;
    column.hovered = k;
    tip.hidden = k < 0;
    if (k >= 0) {
      tip.replaceChildren(
        ...stepWords(column.result, k, optimizer.fields, shownAs.ranges.lowest).map((text) =>
          element("div", { textContent: text }),
        ),
      );
      tip.dataset.corner =
        (y > plane.clientHeight / 2 ? "top" : "bottom") +
        (x > plane.clientWidth / 2 ? "-left" : "-right");
    }
    if (shownAs) column.draw(scene, shownAs.ranges, shownAs.head);
  }

  for (const chart of [loss, error]) {
    let isDown = false;
    const go = (event) => {
      const box = chart.getBoundingClientRect(),
        last = scene.steps * scene.n;
      const fraction =
        (event.clientX - box.left - MARGIN.left) / (box.width - MARGIN.left - MARGIN.right);
      actions.setStep(Math.max(0, Math.min(last, Math.round(fraction * last))));
    };
    chart.addEventListener("pointerdown", (event) => {
      isDown = true;
      chart.setPointerCapture(event.pointerId);
      go(event);
    });
    chart.addEventListener("pointermove", (event) => isDown && go(event));
    for (const name of ["pointerup", "pointercancel"])
      chart.addEventListener(name, () => {
        isDown = false;
      });
  }
  return column;
}
