"""Optimizers from a flow and a numerical method: one step of any one-step solver of diffrax."""

import inspect
from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from ..errors import DynoptError, InvalidType, InvalidValue
from ..optimizers import AbstractOptimizer
from ..optimizers.base import must_be_optimizer
from ..optimizers.wrappers.base import AbstractDerived
from ..optimizers.wrappers.noise import must_have_no_noise
from .expansion import settling_time
from .series import add_scaled

ROUND_OFFS = 2**12  # the tolerance of Newton's method, in units of machine epsilon
ITERATIONS = 50  # of Newton's method, after which a step counts as not solved
UNSET = diffrax.Kvaerno5().root_finder.rtol  # of a solver that waits for those of diffeqsolve
ANY_TERM = diffrax.ODETerm(lambda t, y, args: y)


class Stepped(AbstractDerived):
    """The flow of an optimizer, followed by any numerical method: pick an equation, pick a solver.

    The map is one step Φ of the solver, for the vector field F of `optimizer`; with Euler's method
    it is y + h F(y), with Heun's y + (h/2) (F(y) + F(y + h F(y))), and with the implicit method of
    Euler, which for gradient descent is the proximal point method, the solution of yₖ₊₁ = yₖ +
    h F(yₖ₊₁):

        yₖ₊₁ = Φ(tₖ, yₖ)

    The flow is that of `optimizer`:

        y′ = F(t, y)

    The time step: it is that of `optimizer`, and the global error is O(hᵖ), where p is the order
    of the solver. The map of `optimizer` itself is not used.

    Lyapunov function: it is that of `optimizer`. A map of high order need not lower it, and its
    order says nothing about its stability, see `analysis.critical_curvature`.

    Elsewhere: `diffrax.diffeqsolve` with constant steps, but for the stages that only estimate the
    error of a step, which are left out here. A stage of an implicit method solves an equation by
    iteration. `evaluations` counts two gradients for it, as on a quadratic loss, and no Hessian
    matrix; on other losses it takes more. If the equation is not solved, the next point is NaN,
    and the run ends as `Status.nonfinite`.

    Arguments:

    - `optimizer`: the optimizer that gives the vector field, the start and the time step.
    - `solver`: a one-step solver of diffrax for ordinary differential equations, explicit or
      implicit, such as `diffrax.Heun()`. An implicit solver that leaves its tolerances to
      diffeqsolve solves its equations by up to 50 iterations of Newton's method, to round-off.

    **Raises:** `InvalidType` if `solver` is no solver of diffrax; `InvalidValue` if it is made for
    noise or for equations in several parts, if it wraps another solver, carries a state from step
    to step or has no order, if `optimizer` is stepped already, or if it has no flow.

    >>> import diffrax
    >>> from dynopt import SGD
    >>> heun = Stepped(SGD(0.1), diffrax.Heun())
    >>> heun, heun.name, heun.regularity.order, heun.evaluations
    (Stepped(SGD(learning_rate=0.1), Heun()), 'Heun(SGD)', 2.0, 2)

    Source: E. Hairer, S. Nørsett and G. Wanner, "Solving ordinary differential equations I",
    chapter II; R. T. Rockafellar, "Monotone operators and the proximal point algorithm" (1976).
    """

    optimizer: AbstractOptimizer
    solver: diffrax.AbstractSolver

    def __init__(self, optimizer: AbstractOptimizer, solver: diffrax.AbstractSolver):
        must_be_optimizer(optimizer)
        if isinstance(optimizer, Stepped):
            raise InvalidValue(
                f"{optimizer!r} is stepped already, and its flow is that of its optimizer; pass "
                f"{optimizer.optimizer!r}."
            )
        must_have_no_noise("Stepped", optimizer)
        if fault := getattr(optimizer, "fault", ""):
            raise InvalidValue(fault)
        self.optimizer, self.solver = optimizer, differentiable(must_be_one_step(solver))

    learning_rate = property(lambda self: self.optimizer.learning_rate)  # pyright: ignore
    name = property(lambda self: f"{_name(self.solver)}({self.optimizer.name})")

    @property
    def regularity(self):
        """That of the flow of `optimizer`, with the order of the solver where the flow is smooth.

        Where memories start at 0 and are divided by their accumulated weight, the stages of the
        first steps are less accurate, so that no solver has more than the order 2.
        """
        regularity = self.optimizer.regularity
        order = float(self.solver.order(ANY_TERM))  # pyright: ignore
        if regularity.bias_corrected:
            order = min(order, 2.0)
        if regularity.order < 1:
            order = regularity.order
        return regularity._replace(order=order, initial_layer=False, mean_flow=False)

    @property
    def evaluations(self):
        return _fields_per_step(self.solver) * _gradients_per_field(self.optimizer)

    def init(self, x, grad):
        return self.optimizer.init_flow(x, grad)

    def step(self, t, y, grad):
        h, start = jnp.asarray(self.h, y.x.dtype), jnp.zeros((), y.x.dtype)

        def vector_field(s, y, _):  # at the time t + s, because t + h - t is not h
            return self.optimizer.vector_field(t + s, y, grad)

        solver = self.solver
        if isinstance(solver, diffrax.AbstractERK):
            return _explicit_step(solver.tableau, vector_field, h, y)
        problem = diffrax.ODETerm(vector_field), start, h, y, None
        if _waits_for_tolerances(solver):
            tolerance = ROUND_OFFS * float(jnp.finfo(y.x.dtype).eps)
            scale = _largest(y, self.optimizer.vector_field(t, y, grad))
            newton = NewtonMethod(tolerance, jax.lax.stop_gradient(tolerance * scale))
            solver = eqx.tree_at(
                lambda s: (s.root_finder, s.root_find_max_steps), solver, (newton, ITERATIONS)
            )
        after, *_, result = solver.step(*problem, solver.init(*problem), made_jump=False)
        is_solved = result == diffrax.RESULTS.successful
        return jax.tree.map(lambda leaf: jnp.where(is_solved, leaf, jnp.nan), after)

    def vector_field(self, t, y, grad):
        return self.optimizer.vector_field(t, y, grad)

    def lyapunov(self, t, y, loss):
        return self.optimizer.lyapunov(t, y, loss)

    def __repr__(self) -> str:
        return f"Stepped({self.optimizer!r}, {_name(self.solver)}())"


@settling_time.register
def _(optimizer: Stepped):
    return 0.0


def must_be_one_step(solver: Any) -> Any:
    """`solver`, unless one of its steps needs more than an equation and a point.

    **Raises:** `InvalidType` or `InvalidValue`.
    """
    if not isinstance(solver, diffrax.AbstractSolver):
        raise InvalidType(
            f"`solver` must be a solver of diffrax, got {solver!r}; pass for example "
            "diffrax.Heun()."
        )
    name, structure = _name(solver), solver.term_structure
    if not (inspect.isclass(structure) and issubclass(diffrax.ODETerm, structure)):
        raise InvalidValue(
            f"`solver` {name} is made for noise or for an equation in several parts, but a flow is "
            "one ordinary differential equation; pass for example diffrax.Heun()."
        )
    if isinstance(solver, diffrax.AbstractWrappedSolver):
        raise InvalidValue(
            f"`solver` {name} estimates the error of another solver, but all steps of a map take "
            f"the same time; pass diffrax.{_name(solver.solver)}()."
        )
    state = jax.eval_shape(lambda: solver.init(ANY_TERM, 0.0, 1.0, jnp.zeros(1), None))
    if jax.tree.leaves(state) and not isinstance(solver, diffrax.AbstractRungeKutta):
        raise InvalidValue(
            f"`solver` {name} carries a state from step to step, so that its steps are no map of "
            "phase space; pass a one-step solver such as diffrax.Midpoint()."
        )
    if solver.order(ANY_TERM) is None:
        raise InvalidValue(
            f"`solver` {name} does not say its order for ordinary differential equations; define "
            "its method `order`, or pass for example diffrax.Heun()."
        )
    return solver


def _name(solver: Any) -> str:
    return type(solver).__name__


def differentiable(solver: Any) -> Any:
    """The same solver with loops over its stages that are differentiable in both modes."""
    if not hasattr(solver, "scan_kind"):
        return solver
    return eqx.tree_at(lambda s: s.scan_kind, solver, "lax", is_leaf=lambda v: v is None)


def _explicit_step(tableau: Any, vector_field: Callable, h: Array, y: Any):
    """One explicit Runge-Kutta step, without the stages that only estimate its error."""
    weights = np.trim_zeros(tableau.b_sol, "b")
    rows, times = [np.array([]), *tableau.a_lower], [0.0, *tableau.c]
    slopes: list[Any] = []

    def moved(row):
        """The point y + h Σ aⱼ kⱼ, for the slopes kⱼ so far."""
        steps = [(h * float(a), slope) for a, slope in zip(row, slopes, strict=True) if a]
        return add_scaled(y, *steps)

    for row, c in zip(rows[: len(weights)], times, strict=False):
        slopes.append(vector_field(h * float(c), moved(row), None))
    return moved(weights)


def _waits_for_tolerances(solver: Any) -> bool:
    return getattr(getattr(solver, "root_finder", None), "rtol", None) is UNSET


class NewtonMethod(optimistix.AbstractRootFinder):
    """Newton's method, until an iteration moves the root by round-off in `scale` only.

    The root finders that diffrax prefers give up where they would need a third iteration, so that
    diffeqsolve tries a shorter step; a map has no shorter step.
    """

    rtol: float
    atol: Array
    norm: Callable = optimistix.max_norm

    def init(self, fn, y, args, options, f_struct, aux_struct, tags):
        return jnp.full_like(self.atol, jnp.inf)  # the size of the last change

    def step(self, fn, y, args, options, state, tags):
        z, unravel = ravel_pytree(y)

        def residual(z):
            value, aux = fn(unravel(z), args)
            value, _ = ravel_pytree(value)
            return value, (value, aux)

        jacobian, (value, aux) = jax.jacfwd(residual, has_aux=True)(z)
        change = jnp.linalg.solve(jacobian, value)
        return unravel(z - change), self.norm(change), aux

    def terminate(self, fn, y, args, options, state, tags):
        return state <= self.atol + self.rtol * self.norm(y), optimistix.RESULTS.successful

    def postprocess(self, fn, y, aux, args, options, state, tags, result):
        return y, aux, {}


def _largest(*trees: Any) -> Array:
    return jnp.max(jnp.stack([jnp.abs(leaf).max() for leaf in jax.tree.leaves(trees)]))


def _fields_per_step(solver: Any) -> int:
    """How many vector fields one step evaluates, with two iterations for an implicit stage."""
    tableau: Any = getattr(solver, "tableau", None)
    if isinstance(solver, diffrax.AbstractERK):
        return len(np.trim_zeros(tableau.b_sol, "b"))
    if tableau is not None:
        return tableau.num_stages + int(np.count_nonzero(tableau.a_diagonal))
    return 3 if isinstance(solver, diffrax.ImplicitEuler) else 1  # its first guess is explicit


def _gradients_per_field(optimizer: AbstractOptimizer) -> int:
    """How many gradients the vector field of the optimizer asks for."""
    calls = []

    def grad(x):
        calls.append(x)
        return x

    def field(x):
        return optimizer.vector_field(0.0, optimizer.init_flow(x, lambda x: x), grad)

    try:
        jax.eval_shape(field, jnp.zeros(1))
    except DynoptError:  # it is made for positions of another shape
        return optimizer.evaluations
    return len(calls)
