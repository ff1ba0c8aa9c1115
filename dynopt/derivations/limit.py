"""Whether the map of an optax transformation has a limit as h → 0, found from a few of its numbers.

A map is evaluated at a long time step (`MAX_H_WITH_COUNTER` times its own), at a short one and at
a few tiny ones.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..checks import Scalar, tracing_fault
from ..errors import InvalidType, InvalidValue
from ..optimizers.base import Gradient
from .extrapolation import MAX_H_WITH_COUNTER, NODES, extrapolated_taylor
from .series import taylor_coefficients
from .transformation import Point, Transformation

# Both are in units of the optimizer's own h. At the short time step a map must almost stand still;
# at the tiny ones its steps must agree with its derivative.
SHORT_H = 1e-4
TINY_H = (1e-4, 1e-6, 1e-8)
# A step that is linear in h is at the short time step 1/300 of what it is at the long one; a step
# proportional to √h is 1/18. Steps above this ratio do not vanish with h.
MAX_STEP_RATIO = 0.02
MAX_EXTRAPOLATION_ERROR = 1e-3  # relative change of the derivative if two nodes are left out
MAX_DERIVATIVE_MISMATCH = 0.05  # relative to the derivative
VANISHED = 1e-6  # of the longest first step: below this, a schedule that counts steps has ended
FIRST_STEPS = 65


class Limit(NamedTuple):
    """Properties of the limit of (step - identity) / h as h → 0.

    - `smooth`: whether the map can be differentiated at h = 0.
    - `fault`: why there is no limit; "" if there is one.
    - `bias_corrected`: memories that start at 0 and forget at one rate.
    - `initial_layer`: whether the first steps differ from the others at every time step.
    - `order`: of the error that such an initial layer leaves.
    """

    smooth: bool
    fault: str = ""
    bias_corrected: tuple[str, ...] = ()
    initial_layer: bool = False
    order: float = 1.0

    @property
    def method(self) -> str:
        """How the vector field is computed."""
        if self.smooth:
            return "differentiated at h = 0"
        return "extrapolated from small time steps to h = 0"


class Measurements(NamedTuple):
    """Numbers of a map near a point that three steps have led to, and in its first steps.

    A dictionary has one entry for each field of phase space, unless its line says otherwise.

    - `counts_steps`: for each integer leaf, whether every step raises it by one.
    - `smooth`: whether the map has a finite derivative at h = 0.
    - `short_step`, `long_step`: how far one step of short and of long time moves.
    - `extrapolation_error`: relative change of the derivative if two nodes are left out.
    - `derivative_mismatch`: relative difference of tiny steps, divided by h, and the derivative.
    - `first_short_step`, `first_long_step`: how far the first step moves.
    - `decay`: for each memory, the fraction that a short step keeps.
    - `is_average`: for each memory, whether it starts at 0 and forgets at one rate below 1.
    - `speed`: how far a long step moves x, per unit of time.
    - `first_speeds`: the same for the first short steps under a constant gradient.
    """

    counts_steps: dict[str, Any]
    smooth: Any
    short_step: dict[str, Any]
    long_step: dict[str, Any]
    extrapolation_error: dict[str, Any]
    derivative_mismatch: dict[str, Any]
    first_short_step: dict[str, Any]
    first_long_step: dict[str, Any]
    decay: dict[str, Any]
    is_average: dict[str, Any]
    speed: Any
    first_speeds: Any


def limit_under_tracing(transformation: Transformation) -> Limit:
    """What can be known inside a jax transformation, where no number has a value."""
    layout = transformation.layout
    return Limit(smooth=not layout.has_counter and not layout.has_powers)


def detect_limit(transformation: Transformation, h: Scalar) -> Limit:
    """Evaluate a few numbers of a map, and tell from them whether it has a limit.

    **Raises:** `InvalidValue` if an integer leaf counts anything but steps; `InvalidType` if the
    family cannot be traced in h.
    """
    name = transformation.name_in_sentence
    try:
        measured = transformation.evaluate_at_sample(_measure, h)
    except Exception as error:
        if (fault := tracing_fault(error, "the traced h")) is None:
            raise
        raise InvalidType(
            f"{name} {fault[0]}; use jax.numpy, in schedules too, such as "
            "lambda k: h * jnp.exp(-k * h)."
        ) from error
    for path, counts in measured.counts_steps.items():
        if not counts:
            raise InvalidValue(
                f"the state leaf `{path}` of {name} is no real number and does not count steps, so "
                "it is no function of the time; use a transformation whose whole numbers count "
                "steps."
            )
    if fault := _fault(transformation, measured):
        return Limit(smooth=False, fault=fault)
    bias_corrected = tuple(
        field
        for field in transformation.fields[1:]
        if transformation.layout.has_counter and measured.is_average[field]
    )
    return Limit(bool(measured.smooth), "", bias_corrected, *_initial_layer(measured))


def _measure(transformation: Transformation, h: Array, y: Point, grad: Gradient) -> Measurements:
    layout, memories = transformation.layout, transformation.fields[1:]
    short, long, t = SHORT_H * h, MAX_H_WITH_COUNTER * h, 3 * h
    x, start = y.x, transformation.start(h, y.x)

    def count(h):
        return t / h if layout.has_counter else 0

    def curve(h):
        return transformation.update(h, count(h), y, grad)

    def step_length(h):
        return max_difference(curve(h), y)

    def first_step_length(h):
        first = transformation.start(h, x)
        return max_difference(transformation.update(h, 0, first, grad), first)

    def decays(h, y):
        return {name: transformation.decay(name, h, count(h), y, grad) for name in memories}

    differentiable = not layout.has_counter and not layout.has_powers
    at_zero = taylor_coefficients(curve, 1, x.dtype)[0] if differentiable else y
    derivative, coarser = (extrapolated_taylor(curve, 1, long, n)[0] for n in (NODES, NODES - 2))
    change = jax.tree.map(
        lambda a, b: jnp.abs(a - b).max() / jnp.maximum(jnp.abs(a).max(), 1e-300),
        derivative,
        coarser,
    )
    mismatches = [derivative_mismatch(curve(tiny * h), y, derivative, tiny * h) for tiny in TINY_H]
    decay, first_decay = decays(long, y), decays(long, start)

    def first_step(y, k):
        after = transformation.update(short, k, y, lambda _: grad(x))
        return after, jnp.linalg.norm(after.x - y.x) / short

    return Measurements(
        counts_steps=transformation.counts_steps(h, x, grad),
        smooth=differentiable
        & jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(at_zero)]).all(),
        short_step=step_length(short),
        long_step=step_length(long),
        extrapolation_error=change._asdict(),
        derivative_mismatch={
            name: jnp.stack([mismatch[name] for mismatch in mismatches]).max()
            for name in transformation.fields
        },
        first_short_step=first_step_length(short),
        first_long_step=first_step_length(long),
        decay={name: rate.mean() for name, rate in decays(short, y).items()},
        is_average={
            name: (jnp.abs(jnp.stack([rate, first_decay[name]]) - rate.ravel()[0]).max() < 1e-9)
            & (rate.ravel()[0] < 1)
            & (getattr(start, name) == 0).all()
            for name, rate in decay.items()
        },
        speed=step_length(long)["x"] / long,
        first_speeds=jax.lax.scan(
            first_step, transformation.start(short, x), jnp.arange(FIRST_STEPS)
        )[1],
    )


def max_difference(a: Point, b: Point) -> dict[str, Array]:
    return jax.tree.map(lambda a, b: jnp.abs(a - b).max(), a, b)._asdict()


def derivative_mismatch(after: Point, before: Point, derivative: Point, h) -> dict[str, Array]:
    """The largest difference of (after - before)/h and the derivative, relative to the derivative.

    What may be round-off is taken off first.
    """

    def relative(a, b, d):
        round_off = 1e-5 * jnp.abs(b).max()
        return (jnp.abs((a - b) / h - d) - round_off).max() / jnp.abs(d).max()

    return jax.tree.map(relative, after, before, derivative)._asdict()


def _initial_layer(measured: Measurements) -> tuple[bool, float]:
    """Whether there is an initial layer, and the order of the error that it leaves.

    First steps that become like the others cost an error O(h) once; first steps that fall like
    k^-a, where k counts them, cost O(h^(1-a)).
    """
    speeds = measured.first_speeds
    if abs(speeds[1] - speeds[0]) <= 0.01 * max(float(measured.speed), speeds[0]):
        return False, 1.0
    exponent = float(np.log(speeds[64] / speeds[16]) / np.log(65 / 17))
    return True, min(1.0, 1 + round(2 * exponent) / 2)


FAULTS = {
    "not finite": "{leaves} {is} not finite as h → 0",
    "grows": (
        "{leaves} grow{s} without bound as h → 0; declare {its} power of h, such as "
        "scale={{'{name}': -1}}"
    ),
    "forgets": (
        "{leaves} forget{s} as much in each step however short the step is; make {its} decay "
        "1 - h/tau{or_memoryless}"
    ),
    "moves": (
        "{leaves} move{s} by a step that does not shrink like h; make the learning rate "
        "proportional to h"
    ),
    "jumps": (
        "{leaves} jump{s} in the first step, however short it is, so no smooth flow starts there"
    ),
    "no velocity": "the velocity of {leaves} does not converge as h → 0{schedules}",
}


def _fault(transformation: Transformation, measured: Measurements) -> str:
    """A sentence that says why a map has no flow and names the leaves; "" if it has one."""
    layout = transformation.layout
    fields_by_kind: dict[str, list[str]] = {}
    if layout.has_counter and measured.first_speeds[-1] < VANISHED * measured.first_speeds.max():
        fields_by_kind["no velocity"] = ["x"]
    else:
        for field in transformation.fields[::-1]:
            if kind := _fault_kind(field, measured):
                fields_by_kind.setdefault(kind, []).append(field)
    if fields_by_kind.get("no velocity") == ["x"] and len(fields_by_kind) > 1:
        del fields_by_kind["no velocity"]  # it follows from the faults of the memories
    if not fields_by_kind:
        return ""
    schedules = "; write schedules in the time k*h, not in the count k"
    or_memoryless = ", or wrap the optimizer in dynopt.Memoryless"
    clauses = []
    for kind, fields in fields_by_kind.items():
        paths = [f"`{leaf.path}`" for leaf in layout.leaves if leaf.name in fields]
        noun = "the state leaves" if len(paths) > 1 else "the state leaf"
        plural = {"is": "are", "s": "", "its": "their"}
        singular = {"is": "is", "s": "s", "its": "its"}
        clause = FAULTS[kind].format(
            leaves=f"{noun} {' and '.join(paths)}" if paths else "the position",
            name=fields[0],
            schedules=schedules if layout.has_counter else "",
            or_memoryless="" if "moves" in fields_by_kind else or_memoryless,
            **(plural if len(paths) > 1 else singular),
        )
        clauses.append(clause)
    return f"{transformation.name_in_sentence} has no flow: {'; '.join(clauses)}."


def _fault_kind(field: str, measured: Measurements) -> str:
    """Why one coordinate of phase space has no velocity; "" if it has one."""
    short, long = float(measured.short_step[field]), float(measured.long_step[field])
    first_short = float(measured.first_short_step[field])
    first_long = float(measured.first_long_step[field])
    if not np.isfinite([short, long]).all():
        return "not finite"
    if short > MAX_STEP_RATIO * long:
        if field == "x":
            return "moves"
        return "grows" if abs(float(measured.decay[field]) - 1) < 1e-3 else "forgets"
    if field != "x" and first_short > MAX_STEP_RATIO * first_long:
        return "jumps"
    converged = float(measured.extrapolation_error[field]) < MAX_EXTRAPOLATION_ERROR
    mismatched = float(measured.derivative_mismatch[field]) > MAX_DERIVATIVE_MISMATCH
    return "" if (converged and not mismatched) or long == 0 else "no velocity"
