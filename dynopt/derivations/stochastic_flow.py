"""Paths of a stochastic differential equation, as the map of a solver of diffrax."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..errors import InvalidType, InvalidValue
from ..optimizers.wrappers.base import AbstractDerived
from .stepped import differentiable
from .stochastic import StochasticEquation

# How many steps the solvers take by default in each time h.
SUBSTEPS = {diffrax.ShARK: 4, diffrax.Euler: 16}
EXAMPLES = "diffrax.ShARK() for additive noise, and diffrax.Euler() or diffrax.ItoMilstein()"


class StochasticFlow(AbstractDerived):
    """One path of the stochastic differential equation of a noisy optimizer, step by step.

    The map goes over the time h by `substeps` steps of a solver of diffrax, with Brownian
    increments that are drawn from the key of the noise and the number of the step. So it is an
    optimizer that `iterate` and `sweep` run; `integrate` and `ensemble` make it.

    The equation is meant in the sense of Ito. If its noise is additive, that of Stratonovich is the
    same, and the solvers for both senses are allowed. Otherwise only those for Ito's are.

    - `optimizer`: a noisy optimizer, fitted to positions of the shape of `x`.
    - `solver`: a solver of diffrax for stochastic equations; by default `ShARK` for additive noise
      and for modified equations, whose noise is additive up to O(h), and `Euler` otherwise.
    - `per_step`: how many steps this map takes in each time h.
    - `substeps`: how many steps of the solver make one step of this map: 4 with `ShARK` and 16 with
      `Euler` if they are chosen here, and 1 for a solver that is passed.

    **Raises:** `InvalidType` if `solver` is no solver of diffrax; `InvalidValue` for solvers of
    ordinary differential equations and, unless the noise is additive, of Stratonovich equations.
    """

    equation: StochasticEquation
    solver: diffrax.AbstractSolver
    substeps: int = eqx.field(static=True)
    per_step: int = eqx.field(static=True)

    def __init__(self, optimizer, x, solver=None, per_step=1):
        self.equation = StochasticEquation(optimizer, x)
        is_constant = self.equation.affine and self.equation.noise.is_constant
        chosen = diffrax.ShARK() if is_constant else diffrax.Euler()
        if solver is not None:
            self._must_suit(solver)
        self.solver = differentiable(chosen if solver is None else solver)
        self.substeps = SUBSTEPS[type(chosen)] if solver is None else 1
        self.per_step = per_step

    optimizer = property(lambda self: self.equation.optimizer)  # pyright: ignore

    @property
    def h(self):
        return self.optimizer.h / self.per_step

    def for_leaves(self, x0):
        fitted = self.optimizer.for_leaves(x0)
        return eqx.tree_at(lambda flow: flow.equation.optimizer, self, fitted)

    def init(self, x, grad):
        return self.optimizer.init_flow(x, grad)

    def step(self, t, y, grad):
        shape = self.equation.brownian_shape(t, y, grad)
        k = jnp.round(jnp.asarray(t) / self.h).astype(int)
        key = jax.random.fold_in(self.equation.noise.key, k)
        needs_area = hasattr(self.solver, "minimal_levy_area")
        increments = diffrax.SpaceTimeLevyArea if needs_area else diffrax.BrownianIncrement
        dt = jnp.asarray(self.h / self.substeps, y.x.dtype)
        begin, end = jnp.zeros((), y.x.dtype), jnp.ones((), y.x.dtype)

        def substep(y, i):
            """One step in the time s = (time - start)/dt, in which W has the increments √dt dW."""
            equation = self.equation.with_key(jax.random.fold_in(key, self.substeps + i))
            path = diffrax.UnsafeBrownianPath(
                jax.ShapeDtypeStruct(shape, y.x.dtype), jax.random.fold_in(key, i), increments
            )

            def drift(s, y, _):
                return _scaled(dt, equation.drift(t + (i + s) * dt, y, grad))

            def columns(s, y, _):
                return _scaled(dt**0.5, equation.columns(t + (i + s) * dt, y, grad))

            terms = diffrax.MultiTerm(diffrax.ODETerm(drift), _Noise(columns, path, equation))
            # ShARK refuses columns that depend on y, as those of a modified equation may. It
            # evaluates them at the start of its step alone, and so solves the equation of Ito.
            is_shark = isinstance(self.solver, diffrax.ShARK)
            state = None if is_shark else self.solver.init(terms, begin, end, y, None)
            return self.solver.step(terms, begin, end, y, None, state, made_jump=False)[0], None

        return jax.lax.scan(substep, y, jnp.arange(self.substeps))[0]

    def vector_field(self, t, y, grad):
        return self.equation.drift(t, y, grad)

    def _must_suit(self, solver: Any) -> None:
        if not isinstance(solver, diffrax.AbstractSolver):
            raise InvalidType(
                f"`solver` must be a solver of diffrax, got {solver!r}; pass for example "
                f"{EXAMPLES}."
            )
        name = type(solver).__name__
        if "UnderdampedLangevin" in str(solver.term_structure):
            raise InvalidValue(
                f"`solver` {name} solves equations in the terms of Langevin dynamics alone; pass "
                f"for example {EXAMPLES}."
            )
        is_ito = isinstance(solver, diffrax.AbstractItoSolver)
        if not is_ito and not isinstance(solver, diffrax.AbstractStratonovichSolver):
            raise InvalidValue(
                f"`solver` {name} solves ordinary differential equations, but the flow of "
                f"{self.optimizer!r} is stochastic; pass for example {EXAMPLES}."
            )
        if not is_ito and not self.equation.is_additive:
            raise InvalidValue(
                f"`solver` {name} solves equations in the sense of Stratonovich, but that of "
                f"{self.optimizer!r} is one of Ito whose noise depends on the point, so that the "
                "two differ; leave `solver` out, which takes 16 steps of diffrax.Euler() in each h."
            )


class _Noise(diffrax.ControlTerm):
    """Σⱼ bⱼ dWⱼ for columns with the fields of y."""

    equation: StochasticEquation

    def __init__(self, vector_field, control, equation):
        super().__init__(vector_field, control)
        self.equation = equation

    def prod(self, vf, control):
        return self.equation.combine(vf, control)


def _scaled(factor: Array, tree: Any) -> Any:
    return jax.tree.map(lambda leaf: factor * leaf, tree)
