"""Whether the map of an optax transformation has a limit as h → 0, judged by a few of its numbers."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..checks import Scalar, tracing_fault
from ..errors import InvalidType, InvalidValue
from ..optimizers.base import Gradient
from .limits import CLOCKS, SPAN_COUNTED, extrapolated
from .series import taylor_coefficient
from .transformation import Point, Transformation

SHORT = 1e-4  # of a step: a clock so short that its steps should be all but still
REST = 0.02  # of a leap at a clock 300 times as long: a step linear in h is 1/300 of that, one like √h 1/18
TINY = (1e-4, 1e-6, 1e-8)  # of a step: at such clocks the map must go where its derivatives say
ENDED = 1e-6  # of the longest of the first steps, whatever the clock: a schedule in counts has come to its end
SETTLED = 1e-3  # of the derivative: the most that two clocks fewer may change in it


class Verdict(NamedTuple):
    """What is known of the limit of a map.

    - `smooth`: it can be differentiated at h = 0. - `fault`: why there is none, or nothing. - `averages`: memories that
      start at 0 and forget at one rate. - `layer`: the first steps differ from the rest at every clock; `order`: of the
      gap that this leaves.
    """

    smooth: bool
    fault: str = ""
    averages: tuple[str, ...] = ()
    layer: bool = False
    order: float = 1.0


def unseen(map: Transformation) -> Verdict:
    """What can be said inside a jax transformation, where no number can be looked at."""
    return Verdict(smooth=not map.reading.counts and not map.reading.scaled)


def judge(map: Transformation, h: Scalar) -> Verdict:
    """Look at a few numbers of a map.

    **Raises:** `InvalidValue` if an integer leaf counts anything but steps; `InvalidType` if it cannot be traced in h.
    """
    try:
        seen = map.looked_at(_look, h)
    except Exception as error:
        if (known := tracing_fault(error, "the traced h")) is None:
            raise
        raise InvalidType(
            f"{map.said} {known[0]}; use jax.numpy, in schedules too, such as lambda k: h * jnp.exp(-k * h)."
        ) from error
    for path, counted in seen["counted"].items():
        if not counted:
            raise InvalidValue(
                f"the state leaf `{path}` of {map.said} is no real number and does not count steps, so no time "
                "stands for it; use a transformation whose whole numbers count steps."
            )
    if fault := _fault(map, seen):
        return Verdict(False, fault)
    averages = tuple(
        field for field in map.fields[1:] if map.reading.counts and seen["average"][field]
    )
    return Verdict(bool(seen["smooth"]), "", averages, *_start(seen))


def _look(map: Transformation, h: Array, y: Point, grad: Gradient) -> dict[str, Any]:
    """What a map does near the point that three steps have led to, and in its first steps."""
    short, long, t = SHORT * h, SPAN_COUNTED * h, 3 * h
    x, start = y.x, map.start(h, y.x)

    def count(h):
        return t / h if map.reading.counts else 0

    def curve(h):
        return map.update(h, count(h), y, grad)

    def leap(h):
        return apart_at_most(curve(h), y)

    def first_leap(h):
        first = map.start(h, x)
        return apart_at_most(map.update(h, 0, first, grad), first)

    def astray(h):
        """How far a very short step goes elsewhere than along the derivative, relative to what may be round-off."""
        return jax.tree.map(
            lambda a, b, d: (jnp.abs((a - b) / h - d) - 1e-5 * jnp.abs(b).max()).max() / jnp.abs(d).max(),
            curve(h), y, eight,
        )._asdict()  # fmt: skip

    def kept(h, y):
        return {name: map.kept(name, h, count(h), y, grad) for name in map.fields[1:]}

    plain = not map.reading.counts and not map.reading.scaled
    at_zero = taylor_coefficient(curve, 1, x.dtype) if plain else y
    eight, six = (extrapolated(curve, 1, long, n)[0] for n in (CLOCKS, CLOCKS - 2))
    apart = jax.tree.map(
        lambda a, b: jnp.abs(a - b).max() / jnp.maximum(jnp.abs(a).max(), 1e-300), eight, six
    )
    strays = [astray(tiny * h) for tiny in TINY]
    shares, first_shares = kept(long, y), kept(long, start)

    def walk(y, k):
        after = map.update(short, k, y, lambda _: grad(x))
        return after, jnp.linalg.norm(after.x - y.x) / short

    return {
        "counted": map.counted(h, x, grad),
        "smooth": plain
        & jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(at_zero)]).all(),
        "short": leap(short),
        "long": leap(long),
        "apart": apart._asdict(),
        "astray": {name: jnp.stack([stray[name] for stray in strays]).max() for name in map.fields},
        "first short": first_leap(short),
        "first long": first_leap(long),
        "kept": {name: share.mean() for name, share in kept(short, y).items()},
        "average": {
            name: (jnp.abs(jnp.stack([share, first_shares[name]]) - share.ravel()[0]).max() < 1e-9)
            & (share.ravel()[0] < 1)
            & (getattr(start, name) == 0).all()
            for name, share in shares.items()
        },
        "speed": leap(long)["x"] / long,
        "first steps": jax.lax.scan(walk, map.start(short, x), jnp.arange(65))[1],
    }


def apart_at_most(a: Any, b: Any) -> dict[str, Array]:
    return jax.tree.map(lambda a, b: jnp.abs(a - b).max(), a, b)._asdict()


def _start(seen: dict[str, Any]) -> tuple[bool, float]:
    """Whether there is a layer, and the order it leaves.

    Steps that settle cost O(h) once; steps that fall like k^-a cost O(h^(1-a)).
    """
    steps = seen["first steps"]
    if abs(steps[1] - steps[0]) <= 0.01 * max(float(seen["speed"]), steps[0]):
        return False, 1.0
    falling = float(np.log(steps[64] / steps[16]) / np.log(65 / 17))
    return True, min(1.0, 1 + round(2 * falling) / 2)


CAUSES = {
    "not finite": "{} {is} not finite as h → 0",
    "grows": "{} grow{s} without bound as h → 0; declare {its} power of h, such as scale={{'{name}': -1}}",
    "forgets": "{} forget{s} as fast however short the step; make {its} decay 1 - h/tau{or_else}",
    "jumps": "{} move{s} by a step that does not shrink like h; make the learning rate proportional to h",
    "leaps": "{} leap{s} to a value of {its} own in the first step, however short; there is no smooth way there",
    "unsettled": "the velocity of {} does not settle as h → 0{schedules}",
}


def _fault(map: Transformation, seen: dict[str, Any]) -> str:
    """Why a map has no flow, naming the leaves; nothing if it has one."""
    found: dict[str, list[str]] = {}
    if map.reading.counts and seen["first steps"][-1] < ENDED * seen["first steps"].max():
        found["unsettled"] = ["x"]
    for field in map.fields[::-1] if not found else ():
        if kind := _cause(field, seen):
            found.setdefault(kind, []).append(field)
    if found.get("unsettled") == ["x"] and len(found) > 1:  # because of the memories
        del found["unsettled"]
    said = []
    for kind, fields in found.items():
        paths = [f"`{leaf.path}`" for leaf in map.reading.leaves if leaf.name in fields]
        what = (
            f"the state lea{'ves' if len(paths) > 1 else 'f'} {' and '.join(paths)}"
            if paths
            else "the position"
        )
        many = len(paths) > 1
        words = (
            {"is": "are", "s": "", "its": "their"} if many else {"is": "is", "s": "s", "its": "its"}
        )
        words["schedules"] = (
            "; write schedules in the time k*h, not in the count k" if map.reading.counts else ""
        )
        words["or_else"] = "" if "jumps" in found else ", or wrap the page in dynopt.Memoryless"
        said.append(CAUSES[kind].format(what, name=fields[0], **words))
    return f"{map.said} has no flow: {'; '.join(said)}." if said else ""


def _cause(field: str, seen: dict[str, Any]) -> str:
    """Why one coordinate of phase space has no velocity; nothing if it has one."""
    short, long, apart = (float(seen[key][field]) for key in ("short", "long", "apart"))
    if not np.isfinite([short, long]).all():
        return "not finite"
    if short > REST * long:
        if field == "x":
            return "jumps"
        return "grows" if abs(float(seen["kept"][field]) - 1) < 1e-3 else "forgets"
    if field != "x" and float(seen["first short"][field]) > REST * float(seen["first long"][field]):
        return "leaps"
    settled = apart < SETTLED and not float(seen["astray"][field]) > 0.05
    return "" if settled or long == 0 else "unsettled"
