// The bars above and below the columns, and the keys.
import { MOST_REFINED, OPTIMIZERS, PROBLEMS } from "./engine.js";
import { element } from "./column.js";
import { colorOf } from "./drawing.js";
import { MOST_STEPS, TOGGLES, currentStep, lastStep } from "./scene.js";

export const byId = (id) => document.getElementById(id);

/** `actions`: what the bars do, by name. Returns the function that shows a scene in them. */
export function makeControls(actions) {
  PROBLEMS.forEach(({ name }, p) =>
    byId("problem").append(element("option", { value: p, textContent: name })),
  );
  byId("problem").parentElement.hidden = PROBLEMS.length < 2;
  const toggles = Object.entries(TOGGLES).map(([name, text]) => {
    const button = element("button", { textContent: text, type: "button" });
    button.addEventListener("click", () => actions.toggle(name));
    return [name, button];
  });
  byId("toggles").append(...toggles.map(([, button]) => button));
  const chips = OPTIMIZERS.map(({ name }, j) => {
    const button = element("button", { textContent: name, type: "button" });
    button.addEventListener("click", () => actions.switchOptimizer(j));
    return button;
  });
  byId("chips").append(...chips);
  byId("steps").max = MOST_STEPS / 2;
  const onInput = (id, act) =>
    byId(id).addEventListener("input", (event) => act(Number(event.target.value)));
  byId("problem").addEventListener("change", (event) =>
    actions.setProblem(Number(event.target.value)),
  );
  onInput("steps", actions.setSteps);
  onInput("scrub", actions.setStep);
  const starts = [byId("start-x"), byId("start-y")];
  for (const input of starts)
    input.addEventListener("change", () =>
      actions.moveStart(
        starts.map((i) => Number(i.value)),
        false,
      ),
    );
  for (const name of ["play", "halve", "double", "reset", "theme", "copy"])
    byId(name).addEventListener("click", () => actions[name]());
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (/SELECT|TEXTAREA/.test(event.target.tagName) || event.target.type === "number") return;
    if (event.key === "h") actions.halve();
    else if (event.key === "d") actions.double();
    else if (event.key === " " && !/BUTTON|INPUT|SUMMARY/.test(event.target.tagName)) {
      event.preventDefault();
      actions.play();
    }
  });

  return (scene, isPlaying) => {
    byId("problem").value = scene.p;
    byId("steps").value = scene.steps;
    byId("steps-words").textContent = scene.n > 1 ? `${scene.steps} × ${scene.n}` : scene.steps;
    starts.forEach((input, i) => {
      if (document.activeElement !== input) input.value = scene.x0[i];
    });
    for (const [name, button] of toggles) button.setAttribute("aria-pressed", scene.shown[name]);
    chips.forEach((button, j) => {
      button.setAttribute("aria-pressed", scene.on[j]);
      button.style.setProperty("--color", colorOf(OPTIMIZERS[j]));
    });
    byId("halve").disabled = scene.n >= MOST_REFINED;
    byId("double").disabled = scene.n <= 1;
    byId("refinement").textContent = scene.n > 1 ? `h₀/${scene.n}` : "h₀";
    byId("scrub").max = lastStep(scene);
    byId("scrub").value = currentStep(scene);
    byId("when").textContent = `${currentStep(scene)} / ${lastStep(scene)}`;
    byId("scrub").setAttribute(
      "aria-valuetext",
      `step ${currentStep(scene)} of ${lastStep(scene)}`,
    );
    byId("play").textContent = isPlaying ? "❚❚ stop" : "▶ play";
  };
}
