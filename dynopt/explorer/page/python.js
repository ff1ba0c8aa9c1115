// The Python that computes what is on the screen.
import { OPTIMIZERS, PROBLEMS } from "./engine.js";

/** `code` is a list of texts and of places of hyperparameters. */
const fill = (code, hyper) =>
  code.map((part) => (typeof part === "number" ? hyper[part] : part)).join("");

export function pythonOf(scene, results) {
  const problem = PROBLEMS[scene.p];
  const lines = [
    "import dynopt, jax, optax",
    "from dynopt import analysis, problems",
    "",
    'jax.config.update("jax_enable_x64", True)',
    `problem = ${problem.code}`,
    `x0 = ${fill(problem.startCode, scene.x0)}`,
  ];
  for (const { request, errors, worst } of results) {
    const optimizer = OPTIMIZERS[request.j];
    if (optimizer.given) lines.push(`optimizer = ...  # yours: ${optimizer.given}`);
    const made = fill(optimizer.code, request.hyper);
    const finer = scene.n > 1 ? `.refine(${scene.n})` : "";
    const run = request.modified ? `dynopt.Modified(${made}${finer})` : `${made}${finer}`;
    lines.push(
      `comparison = analysis.compare(${run}, problem, ${scene.steps * scene.n}, x0=x0)`,
      `print(comparison.largest)  # ${errors[worst]?.toPrecision(6)}`,
    );
  }
  return `${lines.join("\n")}\n`;
}
