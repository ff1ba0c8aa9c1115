"""Why a solver gave up: because the solution slides along a jump of its vector field, or not."""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ..optimizers import AbstractOptimizer
from .prepare import prepare_loss

STEPS = 512  # of the solver; a solution may slide where so many take less time than one map step
JUMPS = 8  # the number of these steps that must lead across a jump
HALVINGS = 5  # of a step; a smooth field changes by 1/32 of its change over the whole step
SMOOTH_CHANGE = 1 / 4  # of the change over a step; over one 32nd of it, only a jump changes more


def is_sliding(
    optimizer: AbstractOptimizer,
    loss: Callable,
    x0: PyTree,
    t: Array,
    y: Any,
    rtol: Array,
    atol: Array,
    max_steps: int,
) -> bool:
    """Whether the solution of a flow slides where its solver gave up.

    It slides along a jump of its vector field if that points to the jump from both sides, and it
    crosses jumps ever faster where they surround a minimizer. In both cases the steps of a solver
    shrink without end, and many of them lead across a jump. An optimizer that takes signs has
    jumps even where its field replaces them by something steep.

    - `t`, `y`: the saved times and points, NaN at the times that the solver did not reach.
    - `rtol`, `atol`, `max_steps`: as for `integrate`.
    """
    last = int(np.flatnonzero(np.isfinite(np.asarray(y.x)).all(-1))[-1])
    time, point = t[last], jax.tree.map(lambda leaf: leaf[last], y)
    for _ in range(max_steps // STEPS + 1):
        begin = time
        time, point, num_jumps = _advance(optimizer, loss, x0, begin, point, rtol, atol)
        if time - begin < optimizer.h:
            return bool(num_jumps >= JUMPS) or "sign" in optimizer.regularity.nonsmooth
        if last + 1 == len(t) or not time < t[last + 1]:
            return False
    return False


@eqx.filter_jit
def _advance(optimizer: AbstractOptimizer, loss, x0: PyTree, t, y: Any, rtol, atol):
    """The time and the point after some steps of a solver, and how many lead across a jump."""
    _, grad, *_ = prepare_loss(loss, x0)

    def vector_field(t, y, _=None):
        return optimizer.vector_field(t, y, grad)

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(vector_field),
        diffrax.Tsit5(),
        t,
        jnp.inf,
        dt0=None,
        y0=y,
        saveat=diffrax.SaveAt(t0=True, steps=True),
        stepsize_controller=diffrax.PIDController(rtol, atol),
        max_steps=STEPS,
        throw=False,
        adjoint=diffrax.ForwardMode(),
    )
    n = solution.stats["num_accepted_steps"]
    assert solution.ts is not None
    begins = jnp.minimum(jnp.arange(STEPS), jnp.maximum(n - 1, 0))
    t = solution.ts[begins]
    times = solution.ts[begins + 1] - t
    y = jax.tree.map(lambda leaf: leaf[begins], solution.ys)
    velocities = jax.vmap(vector_field)(t, y)
    largest = jax.tree.map(lambda v: jnp.abs(v).max(), velocities)

    def change(t, y, other):
        """The largest change of the field between two points, in units of its largest values."""
        changes = jax.tree.map(
            lambda a, b, unit: jnp.abs(a - b).max() / jnp.where(unit > 0, unit, 1),
            vector_field(t, y),
            vector_field(t, other),
            largest,
        )
        return jnp.stack(jax.tree.leaves(changes)).max()

    def leads_across_a_jump(t, y, velocity, time):
        """Halve the line from the point to twice the step ahead; keep the half of more change."""
        ahead = jax.tree.map(lambda y, v: y + 2 * time * v, y, velocity)

        def halve(_, ends):
            a, b = ends
            middle = jax.tree.map(lambda a, b: (a + b) / 2, a, b)
            is_first = change(t, a, middle) > change(t, middle, b)
            return jax.tree.map(lambda u, v: jnp.where(is_first, u, v), (a, middle), (middle, b))

        whole = change(t, y, ahead)
        rest = change(t, *jax.lax.fori_loop(0, HALVINGS, halve, (y, ahead)))
        return (whole > jnp.sqrt(jnp.finfo(t).eps)) & (rest > SMOOTH_CHANGE * whole)

    jumps = jax.vmap(leads_across_a_jump)(t, y, velocities, times)
    end = jax.tree.map(lambda leaf: leaf[n], solution.ys)
    return solution.ts[n], end, jnp.sum(jumps & (jnp.arange(STEPS) < n))
