// Computing beside the drawing, so that a hand that drags never waits.
//
// The worker is made from the text of the function `engine`, in a Blob: the file needs no other file
// and no eval, and its content policy allows workers from blobs alone. Where no such worker may
// start, as in the sandboxes of some notebooks, the same function computes here, one optimizer per
// task, so that events come in between.
import { compare } from "./engine.js";

function startWorker(receive, fail) {
  try {
    const url = URL.createObjectURL(new Blob([`(${engine})().serve(self)`]));
    const worker = new Worker(url);
    worker.onmessage = (event) => receive(event.data);
    worker.onerror = (event) => {
      event.preventDefault();
      fail();
    };
    return worker;
  } catch {
    return null;
  }
}

/**
 * Keeps one result for each wanted request, by column. Only one request is in flight, and the next
 * is chosen when it comes back; so what is no longer wanted is never begun. What has no result at
 * all comes first, coarsely; then each is computed in full.
 */
export function startComputing(onResult) {
  const keys = new Map(); // of the latest result of each column: [key, full]
  let wanted = [],
    inFlight = null;
  const keyOf = ({ full, ...rest }) => JSON.stringify(rest);
  const isDone = (request, full) => {
    const [key, wasFull] = keys.get(request.j) ?? [];
    return key === keyOf(request) && (wasFull || !full);
  };
  function receive(result) {
    keys.set(result.request.j, [keyOf(result.request), result.request.full]);
    inFlight = null;
    onResult(result);
    next();
  }
  function next() {
    if (inFlight) return;
    const coarse = wanted.find((request) => !isDone(request, false));
    const request = coarse ?? wanted.find((request) => !isDone(request, true));
    if (!request) return;
    inFlight = { ...request, full: !coarse };
    if (worker) worker.postMessage(inFlight);
    else setTimeout(() => receive(compare(inFlight)));
  }
  let worker = startWorker(receive, () => {
    worker = null;
    inFlight = null;
    next();
  });
  return {
    want(requests) {
      wanted = requests;
      next();
    },
    isIdle: () => !inFlight && wanted.every((request) => isDone(request, true)),
  };
}
