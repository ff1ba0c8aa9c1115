"""Whether the map of an optax transformation has a limit as h → 0, found from a few of its numbers.

A map is evaluated at a long time step (`MAX_H_WITH_COUNTER` times its own), at a short one and at
a few tiny ones.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..checks import Scalar
from ..errors import InvalidValue
from ..optimizers.base import Gradient
from ..optimizers.gradient import frozen_gradient
from .extrapolation import MAX_H_WITH_COUNTER, NODES, extrapolated_taylor
from .series import taylor_coefficients
from .transformation import LATE_COUNT, Point, Transformation

# Both are in units of the optimizer's own h. At the short time step a map must almost stand still;
# at the tiny ones its steps must agree with its derivative.
SHORT_H = 1e-4
TINY_H = (1e-4, 1e-6, 1e-8)
# A step that is linear in h is at the short time step 1/300 of what it is at the long one; a step
# proportional to √h is 1/18. Steps above this ratio do not vanish with h.
MAX_STEP_RATIO = 0.02
MAX_TINY_RATIO = 0.03  # of a step to one of a hundred times its time: 1/100 if linear, 1/10 if √h
MIN_LEAP_RATIO = 0.5  # a first step of x above this ratio is a leap; from v = 0 it may be ∝ √h
MIN_STEP_RATIO = SHORT_H / MAX_H_WITH_COUNTER / 10  # below this ratio x stands still as h → 0
MAX_EXTRAPOLATION_ERROR = 1e-3  # relative change of the derivative if two nodes are left out
MAX_DERIVATIVE_MISMATCH = 0.05  # relative to the derivative
VANISHED = 1e-6  # of the longest first step: below this, a schedule that counts steps has ended
FIRST_STEPS = 65


class Limit(NamedTuple):
    """Properties of the limit of (step - identity) / h as h → 0.

    - `smooth`: whether the map can be differentiated at h = 0.
    - `faults`: why there is no limit: for each cause, a key of `CAUSES`, the fields it concerns.
    - `obstacle`: why the map cannot even be evaluated between two steps; "" if it can.
    - `bias_corrected`: memories that start at 0 and forget at one rate.
    - `initial_layer`: whether the first steps differ from the others at every time step.
    - `order`: of the error that such an initial layer leaves.
    """

    smooth: bool
    faults: tuple[tuple[str, tuple[str, ...]], ...] = ()
    obstacle: str = ""
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

    - `smooth`: whether the map has a finite derivative at h = 0.
    - `short_step`, `long_step`: how far one step of short and of long time moves.
    - `tiny_step`: how far a step of a hundredth of the short time moves.
    - `extrapolation_error`: relative change of the derivative if two nodes are left out.
    - `derivative_mismatch`: relative difference of tiny steps, divided by h, and the derivative.
    - `first_short_step`, `first_long_step`: how far the first step moves.
    - `short_decay`, `long_decay`: for each memory, the fraction that a step keeps.
    - `is_fading`: for each memory, whether it forgets at one rate, which is above 0 and below 1.
    - `starts_at_zero`: for each memory, whether it does.
    - `has_schedule`: whether the step of x still depends on the count after very many steps, when
      every bias correction is over.
    - `speed`: how far a long step moves x, per unit of time.
    - `first_speeds`: the same for the first short steps under a constant gradient.
    """

    smooth: Any
    short_step: dict[str, Any]
    long_step: dict[str, Any]
    tiny_step: dict[str, Any]
    extrapolation_error: dict[str, Any]
    derivative_mismatch: dict[str, Any]
    first_short_step: dict[str, Any]
    first_long_step: dict[str, Any]
    short_decay: dict[str, Any]
    long_decay: dict[str, Any]
    is_fading: dict[str, Any]
    starts_at_zero: dict[str, Any]
    has_schedule: Any
    speed: Any
    first_speeds: Any


def limit_under_tracing(transformation: Transformation) -> Limit:
    """What can be known inside a jax transformation, where no number has a value."""
    layout = transformation.layout
    return Limit(smooth=not layout.has_counter and not layout.has_powers)


def detect_limit(transformation: Transformation, h: Scalar) -> tuple[Limit, Measurements | None]:
    """Evaluate a few numbers of a map, and tell from them whether it has a limit.

    The numbers are returned, too; None if the map cannot be evaluated between two steps.
    """
    try:
        measured = transformation.evaluate_at_sample(_measure, h)
    except InvalidValue as error:
        return Limit(smooth=False, obstacle=str(error)), None
    if faults := _faults(transformation, measured):
        return Limit(smooth=False, faults=tuple(faults)), measured
    bias_corrected = bias_corrected_memories(transformation, measured)
    layer = initial_layer(measured)
    return Limit(bool(measured.smooth), (), "", bias_corrected, *layer), measured


def bias_corrected_memories(transformation: Transformation, measured: Measurements) -> tuple:
    """The memories that start at 0 and forget at one rate, where steps are counted."""
    return tuple(
        field
        for field in transformation.fields[1:]
        if transformation.layout.has_counter
        and measured.is_fading[field]
        and measured.starts_at_zero[field]
    )


def _measure(transformation: Transformation, h: Array, y: Point, grad: Gradient) -> Measurements:
    layout, memories = transformation.layout, transformation.fields[1:]
    long, short, t = MAX_H_WITH_COUNTER * h, SHORT_H * h, 3 * h
    x, start = y.x, transformation.start(h, y.x)

    def curve(h):
        return transformation.update_at_time(h, t, y, grad)

    def first_step_length(h, x):
        first = transformation.start(h, x)
        return max_difference(transformation.update(h, 0, first, grad), first)

    def decays(h, y):
        count = t / h if layout.has_counter else LATE_COUNT
        return {name: transformation.decay(name, h, count, y, grad) for name in memories}

    differentiable = not layout.has_counter and not layout.has_powers
    at_zero = taylor_coefficients(curve, 1, x.dtype)[0] if differentiable else y
    derivative, coarser = (extrapolated_taylor(curve, 1, long, n)[0] for n in (NODES, NODES - 2))
    change = jax.tree.map(
        lambda a, b: jnp.abs(a - b).max() / jnp.maximum(jnp.abs(a).max(), 1e-300),
        derivative,
        coarser,
    )
    steps = h * jnp.array([MAX_H_WITH_COUNTER, *TINY_H])
    after = jax.vmap(curve)(steps)
    lengths = jax.vmap(lambda after: max_difference(after, y))(after)
    mismatches = jax.vmap(derivative_mismatch, (0, None, None, 0))(after, y, derivative, steps)
    # The first step from this point, and from the sample from which three steps have led to it.
    starts = jnp.stack([x, jnp.asarray(transformation.sample_position, x.dtype)])
    first_lengths = jax.vmap(jax.vmap(first_step_length, (None, 0)), (0, None))(steps[:2], starts)
    decay = jax.vmap(decays)(
        jnp.stack([long, long, short]), jax.tree.map(lambda *a: jnp.stack(a), y, start, y)
    )
    count = jnp.stack([t / h, jnp.asarray(1e12), jnp.asarray(1e15)])
    at_count = jax.vmap(lambda count: transformation.update(h, count, y, grad).x - x)(count)
    early, late, change_of_late = map(
        max_abs, (at_count[0], at_count[1], at_count[2] - at_count[1])
    )
    frozen = frozen_gradient(grad, x)

    def is_fading(name):
        rates = decay[name][:2]
        rate = rates.ravel()[0]
        return (jnp.abs(rates - rate).max() < 1e-9) & (rate > 0) & (rate < 1)

    def first_step(y, k):
        after = transformation.update(short, k, y, frozen)
        return after, jnp.linalg.norm(after.x - y.x) / short

    def of_step(i):
        return {name: length[i] for name, length in lengths.items()}

    return Measurements(
        smooth=differentiable
        & jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(at_zero)]).all(),
        long_step=of_step(0),
        short_step=of_step(1),
        tiny_step=of_step(2),
        extrapolation_error=change._asdict(),
        derivative_mismatch={name: mismatch[1:].max() for name, mismatch in mismatches.items()},
        first_long_step={name: length[0].max() for name, length in first_lengths.items()},
        first_short_step={name: length[1].max() for name, length in first_lengths.items()},
        long_decay={name: rates[0].mean() for name, rates in decay.items()},
        short_decay={name: rates[2].mean() for name, rates in decay.items()},
        is_fading={name: is_fading(name) for name in memories},
        starts_at_zero={name: (getattr(start, name) == 0).all() for name in memories},
        has_schedule=(change_of_late > VANISHED * early) | (late < VANISHED * early),
        speed=lengths["x"][0] / long,
        first_speeds=jax.lax.scan(
            first_step, transformation.start(short, x), jnp.arange(FIRST_STEPS)
        )[1],
    )


def max_abs(a: Array) -> Array:
    return jnp.abs(a).max()


def max_difference(a: Point, b: Point) -> dict[str, Array]:
    return jax.tree.map(lambda a, b: max_abs(a - b), a, b)._asdict()


def derivative_mismatch(after: Point, before: Point, derivative: Point, h) -> dict[str, Array]:
    """The largest difference of (after - before)/h and the derivative, relative to the derivative.

    What may be round-off is taken off first.
    """

    def relative(a, b, d):
        round_off = 1e-5 * jnp.abs(b).max()
        return (jnp.abs((a - b) / h - d) - round_off).max() / jnp.abs(d).max()

    return jax.tree.map(relative, after, before, derivative)._asdict()


def initial_layer(measured: Measurements) -> tuple[bool, float]:
    """Whether there is an initial layer, and the order of the error that it leaves.

    First steps that become like the others cost an error O(h) once; first steps that fall like
    k^-a, where k counts them, cost O(h^(1-a)).
    """
    speeds = measured.first_speeds
    if abs(speeds[1] - speeds[0]) <= 0.01 * max(float(measured.speed), speeds[0]):
        return False, 1.0
    exponent = float(np.log(speeds[64] / speeds[16]) / np.log(65 / 17))
    return True, min(1.0, 1 + round(2 * exponent) / 2)


CAUSES = {
    "not finite": "{leaves} {is} not finite as h → 0",
    "grows": "{leaves} grow{s} without bound as h → 0",
    "forgets": "{leaves} forget{s} as much in each step however short the step is",
    "moves": "{leaves} move{s} by a step that does not shrink like h",
    "jumps": (
        "{leaves} jump{s} in the first step, however short it is, so no smooth flow starts there"
    ),
    "no velocity": "the velocity of {leaves} does not converge as h → 0",
}


def clause(transformation: Transformation, cause: str, fields: tuple[str, ...]) -> str:
    """A cause of `CAUSES`, in words that name the leaves of the state."""
    paths = [f"`{leaf.path}`" for leaf in transformation.layout.leaves if leaf.name in fields]
    noun = "the state leaves" if len(paths) > 1 else "the state leaf"
    verb_forms = {"is": "are", "s": ""} if len(paths) > 1 else {"is": "is", "s": "s"}
    leaves = f"{noun} {' and '.join(paths)}" if paths else "the position"
    return CAUSES[cause].format(leaves=leaves, **verb_forms)


def _faults(
    transformation: Transformation, measured: Measurements
) -> list[tuple[str, tuple[str, ...]]]:
    """The causes why a map has no flow, each with its fields; none if it has one."""
    fields_by_cause: dict[str, list[str]] = {}
    ends = measured.first_speeds[-1] < VANISHED * measured.first_speeds.max()
    if transformation.layout.has_counter and ends:
        fields_by_cause["no velocity"] = ["x"]
    else:
        for field in transformation.fields[::-1]:
            if cause := _cause(field, measured):
                fields_by_cause.setdefault(cause, []).append(field)
    if fields_by_cause.get("no velocity") == ["x"] and len(fields_by_cause) > 1:
        del fields_by_cause["no velocity"]  # it follows from the faults of the memories
    return [(cause, tuple(fields)) for cause, fields in fields_by_cause.items()]


def _cause(field: str, measured: Measurements) -> str:
    """Why one coordinate of phase space has no velocity; "" if it has one."""
    short, long = float(measured.short_step[field]), float(measured.long_step[field])
    first_short = float(measured.first_short_step[field])
    first_long = float(measured.first_long_step[field])
    if not np.isfinite([short, long]).all():
        return "not finite"
    shrinks = float(measured.tiny_step[field]) <= MAX_TINY_RATIO * short
    if short > MAX_STEP_RATIO * long and not (field == "x" and shrinks):
        if field == "x":
            return "moves"
        lost = [abs(1 - float(d[field])) for d in (measured.short_decay, measured.long_decay)]
        return "grows" if lost[0] <= MAX_STEP_RATIO * lost[1] + 1e-12 else "forgets"
    if first_short > (MIN_LEAP_RATIO if field == "x" else MAX_STEP_RATIO) * first_long:
        return "jumps"
    converged = float(measured.extrapolation_error[field]) < MAX_EXTRAPOLATION_ERROR
    mismatched = float(measured.derivative_mismatch[field]) > MAX_DERIVATIVE_MISMATCH
    return "" if (converged and not mismatched) or long == 0 else "no velocity"


def is_standing_still(measured: Measurements) -> bool:
    """Whether x moves by less than a multiple of h as h → 0."""
    return not measured.short_step["x"] > MIN_STEP_RATIO * measured.long_step["x"]
