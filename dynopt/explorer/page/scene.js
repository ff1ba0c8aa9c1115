// The scene: all that a reader has chosen, with its defaults and its form in the address.
import { MOST_REFINED, OPTIMIZERS, PROBLEMS } from "./engine.js";

export const TOGGLES = {
  flow: "flow",
  ties: "ties",
  modified: "modified flow",
  magnify: "magnify small errors",
  landscape: "whole landscape",
};
export const MOST_STEPS = 400;

/** The scene with which a problem begins. */
export const sceneOf = (p) => ({
  p,
  x0: [...PROBLEMS[p].x0],
  steps: PROBLEMS[p].steps,
  n: 1,
  hyper: PROBLEMS[p].hyper.map((values) => [...values]),
  on: OPTIMIZERS.map(() => true),
  shown: { flow: true, ties: true, modified: false, magnify: true, landscape: false },
  k: -1, // the step up to which the runs are drawn; -1 for all of them
  theme: "",
  embed: false,
  plays: false,
});

export const allowed = (kind, value) =>
  Number.isFinite(value) && (kind === "rate" ? value >= 0 && value < 1 : value > 0);

export const round = (value, digits = 3) => Number(value.toPrecision(digits));

export function toHash(scene) {
  const shown = Object.keys(TOGGLES)
    .filter((name) => scene.shown[name])
    .join(".");
  const parts = [
    `problem=${encodeURIComponent(PROBLEMS[scene.p].name)}`,
    `x=${scene.x0.map((v) => round(v, 6))}`,
    `steps=${scene.steps}`,
    `n=${scene.n}`,
    `hyper=${scene.hyper.map((v) => v.join(",")).join(";")}`,
    `on=${scene.on.map(Number).join("")}`,
    `show=${shown}`,
  ];
  if (scene.k >= 0) parts.push(`k=${scene.k}`);
  if (scene.theme) parts.push(`theme=${scene.theme}`);
  if (scene.embed) parts.push("embed=1");
  if (scene.plays) parts.push("play=1");
  return `#${parts.join("&")}`;
}

/** What Python is told of a scene. */
export const choicesOf = ({ p, x0, steps, n, hyper }) => ({
  problem: PROBLEMS[p].name,
  x0,
  steps,
  n,
  hyper: Object.fromEntries(
    OPTIMIZERS.map((optimizer, j) => [
      optimizer.name,
      Object.fromEntries(optimizer.hyper.map(({ name }, i) => [name, hyper[j][i]])),
    ]),
  ),
});

/** The scene of an address; what is missing, or is not allowed, keeps its default. */
export function fromHash(hash) {
  const parts = new URLSearchParams(hash.slice(1));
  const numbers = (text) => (text ? text.split(",").map(Number) : []);
  const whole = (name, least, most) => {
    const text = parts.get(name) ?? "";
    return /^\d{1,9}$/.test(text) ? Math.min(most, Math.max(least, Number(text))) : null;
  };
  const scene = sceneOf(
    Math.max(
      0,
      PROBLEMS.findIndex((p) => p.name === parts.get("problem")),
    ),
  );
  const x = numbers(parts.get("x"));
  if (x.length === 2 && x.every((v) => Math.abs(v) < 1e9)) scene.x0 = x;
  scene.steps = whole("steps", 1, MOST_STEPS) ?? scene.steps;
  scene.n = 2 ** Math.floor(Math.log2(whole("n", 1, MOST_REFINED) ?? 1));
  (parts.get("hyper") ?? "").split(";").forEach((text, j) => {
    const values = numbers(text),
      kinds = OPTIMIZERS[j]?.hyper;
    if (values.length === kinds?.length && values.every((v, i) => allowed(kinds[i].kind, v)))
      scene.hyper[j] = values;
  });
  const on = parts.get("on") ?? "";
  if (/^[01]+$/.test(on) && on.length === OPTIMIZERS.length && on.includes("1"))
    scene.on = [...on].map((digit) => digit === "1");
  if (parts.has("show"))
    for (const name in TOGGLES) scene.shown[name] = parts.get("show").split(".").includes(name);
  scene.k = whole("k", 0, scene.steps * scene.n) ?? -1;
  if (["dark", "light"].includes(parts.get("theme"))) scene.theme = parts.get("theme");
  scene.embed = parts.get("embed") === "1";
  scene.plays = parts.get("play") === "1";
  return scene;
}

/** What the columns that are switched on need computed. */
export const requestsOf = (scene) =>
  OPTIMIZERS.flatMap(({ modified }, j) =>
    scene.on[j]
      ? [
          {
            j,
            p: scene.p,
            hyper: scene.hyper[j],
            n: scene.n,
            x0: scene.x0,
            steps: scene.steps,
            modified: scene.shown.modified && Boolean(modified),
          },
        ]
      : [],
  );

export const lastStep = (scene) => scene.steps * scene.n;
export const currentStep = (scene) => (scene.k < 0 ? lastStep(scene) : scene.k);
