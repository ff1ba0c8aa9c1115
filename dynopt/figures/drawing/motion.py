"""How a map moves beside its flow, in the words of a title: it falls behind, runs ahead, leaves."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...analysis import Comparison
from .words import capitalize, failure, format_number, join_words, literal

KEEPS = 0.015  # of the diagonal of the paths: a smaller error is about as large as a dot
BEHIND, BESIDE = 0.3, 0.7  # of the error: how far a map on, and off, the path of its flow lies off
REST = 0.1  # of the distance of the two ends: a run at rest moves less in its last tenth
WIDER = 1.05  # times the length of the flow: the path of a map that swings wider
LEAVES = 6  # times the size of the flow: farther out a map has left that fails or moves outward
LONG = 110  # letters: a longer title names the flow once
FLOW = re.compile(r" ((of|than|from) )?(its flow|their flows)")
HUGE = 1e100  # positions beyond are scaled, because their squares would overflow

# For each kind of motion: one map, several maps, and the word that stands beside the number.
PHRASES = {
    "leaves": ("leaves at step {}", "leave at steps {}", ""),
    "elsewhere": ("ends elsewhere than its flow", "end elsewhere than their flows", "apart"),
    "behind": ("falls behind its flow", "fall behind their flows", "behind"),
    "ahead": ("runs ahead of its flow", "run ahead of their flows", "ahead"),
    "wider": ("swings wider than its flow", "swing wider than their flows", "beside"),
    "narrower": ("swings narrower than its flow", "swing narrower than their flows", "beside"),
    "departs": ("departs from its flow", "depart from their flows", "apart"),
    "keeps": ("keeps within {} of its flow", "keep within {} of their flows", "apart"),
}


class Motion(NamedTuple):
    """How the map of one optimizer moves beside its flow.

    - `kind`: a key of `PHRASES`; "" if a run failed in another way than that the map leaves.
    - `step`: the step at which the error is largest; of a map that leaves, the step at which.
    - `error`: the error there, in the unit of x.
    - `relative`: the error over the diagonal of the paths; infinite for a map that leaves.
    - `failure`: what failed, as in "diverged at step 27"; empty if nothing did.
    """

    kind: str
    step: int
    error: float
    relative: float = 0.0
    failure: str = ""

    @property
    def fact(self) -> str:
        """As in "1.5 behind at step 172", for the line below a name."""
        if self.kind == "leaves":
            return ", ".join(filter(None, [f"leaves at step {self.step}", self.failure]))
        if self.failure:
            return self.failure
        return f"{format_number(self.error, 2)} {PHRASES[self.kind][2]} at step {self.step}"


def motion_of(comparison: Comparison) -> Motion:
    """The motion of a map beside its flow, from their positions in all coordinates."""
    error = np.asarray(comparison.error, float)
    measured = np.flatnonzero(np.isfinite(error))
    step = int(measured[error[measured].argmax()]) if measured.size else 0
    largest = float(error[step]) if measured.size else np.nan
    flow_failure = failure(comparison.flow)
    if failure(comparison.map):
        left = None if flow_failure else leaving_step(comparison)
        failures = failure(comparison.map) or ""
        if left is not None:
            return Motion("leaves", left, float(error[left]), np.inf, failures)
        return Motion("", step, largest, failure=failures)
    if flow_failure or not measured.size:
        return Motion("", step, largest, failure=f"has a flow that {flow_failure}")
    left = leaving_step(comparison)
    if left is not None:
        return Motion("leaves", left, float(error[left]), np.inf)
    unit, x, curve, _ = _positions(comparison)
    diagonal = float(np.linalg.norm(np.ptp(np.concatenate([x, curve]), axis=0)))
    relative = largest / unit / diagonal if diagonal > 0 else 0.0
    return Motion(_kind(comparison, step, largest / unit, relative), step, largest, relative)


def _positions(comparison: Comparison) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Their unit, and in it the positions of map and flow at many times, and flow at each step."""
    runs = comparison.map, comparison.curve, comparison.flow
    x, curve, flow = (np.asarray(run.y.x, float) for run in runs)
    largest = max(float(np.abs(one).max(initial=0, where=np.isfinite(one))) for one in (x, curve))
    unit = largest if largest > HUGE else 1.0
    return unit, x / unit, curve / unit, flow / unit


def leaving_step(comparison: Comparison) -> int | None:
    """The step from which on the map is farther out than `LEAVES` times the size of its flow.

    None if there is none, if it is the first step, or if the map has neither failed nor climbed
    above the loss of its start and is at its end as far out as ever.
    """
    finite = comparison.map.finite
    _, x, curve, _ = _positions(comparison)
    middle = (curve.min(0) + curve.max(0)) / 2
    radius = np.linalg.norm(curve - middle, axis=1).max()
    distances = np.linalg.norm(x - middle, axis=1)
    with np.errstate(all="ignore"):
        is_out = ~(distances <= LEAVES * radius)
    if not comparison.map.status:
        climbs = float(comparison.map.loss[-1]) > float(comparison.map.loss[0])
        if not climbs or distances[-1] < distances.max():
            return None
    inside = np.flatnonzero(finite & ~is_out)
    step = int(inside[-1]) + 1 if inside.size else 0
    return step if 0 < step < finite.sum() else None


def _kind(comparison: Comparison, step: int, error: float, relative: float) -> str:
    """The kind of a motion that has no failure; `error` has the unit of `_positions`."""
    _, x, curve, flow = _positions(comparison)
    t, times = (np.asarray(run.t, float) for run in (comparison.map, comparison.curve))
    if relative <= KEEPS:
        return "keeps"
    if _ends_elsewhere(x, curve):
        return "elsewhere"
    distances = np.linalg.norm(curve - x[step], axis=1)
    flow_passes = times[distances < BEHIND * error] - t[step]  # the place of the map
    if flow_passes.size:
        return "behind" if flow_passes[np.abs(flow_passes).argmin()] < 0 else "ahead"
    if (np.linalg.norm(x[:step] - flow[step], axis=1) < BEHIND * error).any():
        return "ahead"  # the map was where the flow is now
    if distances.min() > BESIDE * error:
        lengths = [float(np.linalg.norm(np.diff(run, axis=0), axis=1).sum()) for run in (x, curve)]
        if lengths[0] > WIDER * lengths[1]:
            return "wider"
        if lengths[1] > WIDER * lengths[0]:
            return "narrower"
    return "departs"


def _ends_elsewhere(x: np.ndarray, curve: np.ndarray) -> bool:
    """Whether map and flow have come to rest at two places."""
    apart = np.linalg.norm(x[-1] - curve[-1])
    last = [run[-max(len(run) // 10, 2) :] for run in (x, curve)]
    return all(float(np.linalg.norm(np.ptp(run, axis=0))) < REST * apart for run in last)


def motion_sentence(names: Sequence[str], motions: Sequence[Motion], most: int = 2) -> str:
    """The motions of the maps of one picture as a title, those of one kind together.

    - `most`: how many kinds are named, those with the largest errors relative to the paths first.

    >>> motions = [Motion("behind", 27, 0.55, 0.1), Motion("keeps", 38, 0.028, 0.01)]
    >>> motion_sentence(["SGD", "Adam"], motions)
    'SGD falls behind its flow by up to 0.55; Adam keeps within 0.028 of its flow'
    """
    named = list(zip(names, motions, strict=True))
    parts = [f"{name} {motion.failure}" for name, motion in named if not motion.kind]
    groups = {motion.kind: [n for n in named if n[1].kind == motion.kind] for _, motion in named}
    groups.pop("", None)
    by_size = sorted(groups, key=lambda kind: -max(m.relative for _, m in groups[kind]))
    for kind in [kind for kind in PHRASES if kind in by_size[:most]]:
        parts.append(_group_sentence(kind, dict(groups[kind])))
    if len("; ".join(parts)) > LONG:
        parts[1:] = [FLOW.sub("", part) for part in parts[1:]]
    return literal(capitalize("; ".join(parts)))


def _group_sentence(kind: str, members: dict[str, Motion]) -> str:
    """As in "SGD and Adam fall behind their flows by up to 0.55 (SGD)"."""
    largest = max(members, key=lambda name: members[name].error)
    number = format_number(members[largest].error, 2)
    steps = join_words([str(motion.step) for motion in members.values()])
    phrase = PHRASES[kind][len(members) > 1].format(steps if kind == "leaves" else number)
    if "{}" not in PHRASES[kind][0]:
        phrase += f" by up to {number}" + f" ({largest})" * (len(members) > 1)
    return f"{join_words(list(members))} {phrase}"
