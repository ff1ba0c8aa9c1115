// Marks on a canvas: rings, stars and labels, in the inks of the style sheet.

const FONT = 'system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif';
export const inks = {};

/** Read the inks anew, after the theme has changed. */
export function readInks() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["bg", "ink", "grey", "line", "contour", "low", "high"])
    inks[name] = style.getPropertyValue(`--${name}`).trim();
}

export const isDark = () => document.documentElement.dataset.theme === "dark";
export const colorOf = (optimizer) => (isDark() ? optimizer.dark : optimizer.color);

const sizes = new WeakMap(); // of canvases: to ask for one makes the browser lay out the page

/** The size of a canvas in CSS pixels; it is asked for anew after it has changed. */
function sizeOf(canvas) {
  if (!sizes.has(canvas)) sizes.set(canvas, [canvas.clientWidth, canvas.clientHeight]);
  return sizes.get(canvas);
}
const watcher = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    sizes.delete(target);
    target.dispatchEvent(new Event("resize"));
  }
});

/** A canvas that is told when it is resized. */
export function makeCanvas(properties) {
  const canvas = Object.assign(document.createElement("canvas"), properties);
  watcher.observe(canvas);
  return canvas;
}

/** An empty canvas of as many pixels as the screen shows: [context, width, height] in CSS pixels. */
export function paper(canvas) {
  const ratio = window.devicePixelRatio || 1,
    [w, h] = sizeOf(canvas);
  const [pixelsX, pixelsY] = [Math.round(w * ratio), Math.round(h * ratio)];
  if (canvas.width !== pixelsX || canvas.height !== pixelsY)
    [canvas.width, canvas.height] = [pixelsX, pixelsY];
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, w, h);
  context.lineJoin = context.lineCap = "round";
  return [context, w, h];
}

export function stroke(context, color, width, alpha, trace) {
  context.save();
  Object.assign(context, { strokeStyle: color, lineWidth: width, globalAlpha: alpha });
  context.beginPath();
  trace(context);
  context.stroke();
  context.restore();
}

/** A line through points [x, y]; it is interrupted where one is not finite. */
export function traceLine(context, points) {
  let joined = false;
  for (const [x, y] of points) {
    const finite = Number.isFinite(x) && Number.isFinite(y);
    if (finite) joined ? context.lineTo(x, y) : context.moveTo(x, y);
    joined = finite;
  }
}

export function ring(context, [x, y], radius, fill, edge, width) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  if (fill) {
    context.fillStyle = fill;
    context.fill();
  }
  context.strokeStyle = edge;
  context.lineWidth = width;
  context.stroke();
}

export function star(context, [x, y]) {
  context.beginPath();
  for (let i = 0; i < 10; i++) {
    const angle = -Math.PI / 2 + (i * Math.PI) / 5,
      radius = i % 2 ? 3 : 7;
    context.lineTo(x + radius * Math.cos(angle), y + radius * Math.sin(angle));
  }
  context.closePath();
  Object.assign(context, { fillStyle: inks.low, strokeStyle: inks.ink, lineWidth: 1.1 });
  context.fill();
  context.stroke();
}

export function arrow(context, [x, y], [dx, dy], color, width) {
  const length = Math.hypot(dx, dy);
  if (!(length > 1)) return;
  const head = Math.min(8, 0.6 * length),
    [u, v] = [dx / length, dy / length];
  stroke(context, color, width, 1, (c) => {
    c.moveTo(x, y);
    c.lineTo(x + dx, y + dy);
    for (const side of [-0.5, 0.5]) {
      c.moveTo(x + dx, y + dy);
      c.lineTo(x + dx - head * (u + side * v), y + dy - head * (v - side * u));
    }
  });
}

/** Text with a halo; `align` as that of canvases, `weight` 400 or 650. */
export function label(context, text, x, y, color, size, weight, align) {
  Object.assign(context, {
    font: `${weight} ${size}px ${FONT}`,
    textAlign: align,
    lineWidth: 4,
    strokeStyle: inks.low,
    fillStyle: color,
  });
  context.strokeText(text, x, y + 4);
  context.fillText(text, x, y + 4);
}
