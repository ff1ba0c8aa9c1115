// What the pictures show, as sentences.
import { OPTIMIZERS, PROBLEMS, STATUS, rateIndex } from "./engine.js";
import { format, listed } from "./format.js";

const SMALL = 0.01; // of the extent of the flow: maps that keep so near to it
const unique = (values) => [...new Set(values)];

/** The claim of the whole picture, for a title: the most striking fact first. */
export function headline(results, names, n) {
  if (!results.length) return "";
  const where = `On ${PROBLEMS[results[0].request.p].name}`,
    nameOf = (r) => names[r.request.j];
  const leaving = results.filter((r) => r.leavesAt > 0 && r.flow.status === "ok");
  if (leaving.length) {
    const steps = unique(leaving.map((r) => String(r.leavesAt))),
      many = leaving.length > 1;
    return (
      `${where}, the ${many ? "maps" : "map"} of ${listed(leaving.map(nameOf))} ` +
      `${many ? "leave" : "leaves"} ` +
      `at ${steps.length > 1 ? "steps" : "step"} ${listed(steps)}, while ` +
      `${many ? "their flows stay" : "its flow stays"}`
    );
  }
  const relative = (r) => r.errors[r.worst] / (r.extent || 1);
  const most = results.reduce((a, b) => (relative(b) > relative(a) ? b : a));
  const error = format(most.errors[most.worst]),
    finer = n > 1 ? `, at 1/${n} of the time step` : "";
  if (most.manner === "elsewhere")
    return `${where}, the map of ${nameOf(most)} ends elsewhere than its flow${finer}`;
  if (!(relative(most) >= SMALL))
    return (
      `${where}, every map keeps to its flow: ` +
      `the largest global error is ${error} (${nameOf(most)})${finer}`
    );
  const verb = { behind: "falls behind", ahead: "runs ahead of" }[most.manner] ?? "departs from";
  return `${where}, the map of ${nameOf(most)} ${verb} its flow by up to ${error}${finer}`;
}

/** The two lines below the name of an optimizer, as parts {text, strong, alarm}. */
export function columnWords(result, scene, lowest) {
  const { errors, worst, leavesAt, flow, map, request, h, mapLosses, flowLosses, limit } = result,
    place = result.isOfEnd ? " (end)" : "";
  const first = [],
    second = [];
  const hasNoFlow = flow.status !== "ok" && flow.samples.length <= 2;
  if (hasNoFlow && leavesAt < 0)
    first.push({
      alarm: request.modified
        ? "no modified flow starts here: the time step is too long"
        : "no flow starts here",
    });
  else if (scene.k >= 0) {
    if (leavesAt > 0 && scene.k >= leavesAt)
      first.push({ alarm: `the map left at step ${leavesAt}` });
    else
      first.push({ text: `step ${scene.k}: error ` }, { strong: format(errors[scene.k] ?? NaN) });
  } else if (leavesAt > 0) {
    const ended = map.status === "ok" ? "" : `, ${STATUS[map.status]} at step ${map.points.length}`;
    const why = hasNoFlow ? "; no flow starts here" : ended;
    first.push({ alarm: `leaves at step ${leavesAt}${why}` });
  } else {
    const manner =
      { behind: ", behind", ahead: ", ahead", beside: ", beside", elsewhere: ", elsewhere" }[
        result.manner
      ] ?? "";
    first.push(
      { text: "error ≤ " },
      { strong: format(errors[worst]) },
      { text: ` at step ${worst}${manner}` },
    );
  }
  if (flow.status !== "ok" && !hasNoFlow) first.push({ text: `; the flow ${STATUS[flow.status]}` });
  if (scene.k >= 0) {
    const sample = Math.round((scene.k * (flowLosses.length - 1)) / (scene.steps * scene.n));
    second.push({
      text:
        `loss ${format(mapLosses[scene.k] - lowest)}, ` +
        `flow ${format(flowLosses[sample] - lowest)}`,
    });
  } else {
    second.push({ text: `h = ${format(h, 3)}` });
    if (limit > 0) {
      const share = rateOf(result) / limit;
      const words = share > 2 ? `${format(share)} ×` : `${format(100 * share)} % of`;
      second.push({ text: `, ${symbolOf(request)} at ${words} its limit${place}` });
    }
  }
  return [first, second];
}

/** The learning rate that the slider shows, and on whose scale the stability limit is told. */
const symbolOf = ({ j }) => OPTIMIZERS[j].hyper[rateIndex(j)].symbol;
const rateOf = ({ request }) => request.hyper[rateIndex(request.j)];

export function lossWords({ mapLosses, flowLosses, leavesAt, flow }, lowest) {
  const map = leavesAt > 0 ? "leaves" : format(mapLosses.at(-1) - lowest);
  return `map ${map}, flow ${flow.status === "ok" ? format(flowLosses.at(-1) - lowest) : "stops"}`;
}

/** What halving makes of the largest error, and how well the flow itself is known. */
export const divisorWords = ({ divisor, solverError }) =>
  [
    Number.isFinite(divisor) ? `÷ ${divisor.toFixed(2)} if halved` : "",
    Number.isFinite(solverError) ? `flow\u00a0±\u00a0${format(solverError)}` : "",
  ]
    .filter(Boolean)
    .join(", ");

/** What the status line says after the time step has changed. */
export const refinementWords = (results, names, n) =>
  `The time step is now ${n > 1 ? `1/${n} of` : ""} the first. ` +
  results
    .map((r) => `${names[r.request.j]}: largest error ${format(r.errors[r.worst])}`)
    .join("; ");

/** The inside of one step, line by line. */
export function stepWords(result, k, fields, lowest) {
  const { map, errors, h, mapLosses, request } = result,
    y = map.points[k];
  const g = PROBLEMS[request.p].g0(y.slice(0, 2));
  const lines = [
    `step ${k}, t = ${format(k * h, 3)}`,
    `error ${format(errors[k] ?? NaN)}`,
    `loss ${format(mapLosses[k] - lowest)}, |g| ${format(Math.hypot(...g))}`,
  ];
  let at = 0;
  for (const [name, size] of fields) {
    if (size <= 4)
      lines.push(
        `${name} = ${y
          .slice(at, at + size)
          .map((v) => format(v))
          .join(", ")}`,
      );
    at += size;
  }
  if (k + 1 < map.points.length) lines.push("bold arrow: the next step", "grey arrow: −g");
  return lines;
}
