"""Does the gradient of a loss agree with differences, and may it be differentiated itself?

`jax.lax.stop_gradient`, roundings and rules of the user can make JAX compute another gradient than
the derivative of the value, and another derivative of the gradient than the gradient has.
Where the program of a loss holds such operations, a `Problem` compares numbers near its start.
"""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.extend import core
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from ..checks import is_concrete
from ..errors import InvalidValue, ProblemError
from .field import gradient
from .over_data import MeanLoss
from .program import may_hide_derivatives

DISTANCES = 0.1, 0.01, 0.001  # from the start, in units of 1 + |x0|; the next if one is not finite
NUM_POINTS = 8  # at which a gradient must be 0 to count as 0 everywhere
ROUND_OFF = 10  # differences below so many ulp are round-off
REMEDY = (
    "hold what shall be constant by dynopt.Held in place of jax.lax.stop_gradient, or write this "
    "gradient as the rule of a jax.custom_jvp"
)


class Findings(NamedTuple):
    """What numbers near the start tell of a loss; each is True where nothing speaks against it.

    - `consistent`: the gradient is the derivative of the value.
    - `moves`: no coordinate has the gradient 0 although the loss depends on it.
    - `derivable`: JAX differentiates the gradient rightly.
    - `conservative`: the Jacobian of the gradient is symmetric.
    - `is_finite`: the loss, its gradient and the derivatives of the gradient are finite.
    """

    consistent: bool = True
    moves: bool = True
    derivable: bool = True
    conservative: bool = True
    is_finite: bool = True


class FirstOrder(eqx.Module):
    """A loss whose gradient refuses to be differentiated, since JAX would do it wrongly.

    - `loss`: called as `loss(x)`, or with data as `loss(x, data)`.
    - `name`: the name of the problem, for the message.
    """

    loss: Callable
    name: str = eqx.field(static=True)

    def __call__(self, x, *data):
        return _value(x, self.loss, data, name=self.name)

    def __getattr__(self, name: str) -> Any:
        """What `loss` has beside its value, such as a function that predicts."""
        if name.startswith("_") or name == "loss":  # not there while the object is made
            raise AttributeError(name)
        return getattr(self.loss, name)


@eqx.filter_custom_jvp
def _value(x, loss, data, *, name):
    return loss(x, *data)


@_value.def_jvp
def _value_jvp(primals, tangents, *, name):
    x, loss, data = primals
    dx, *others = tangents
    if jax.tree.leaves(others):
        _refuse(name)
    value, gradient = _value_and_gradient(x, loss, data, name=name)
    products = jax.tree.map(
        lambda d, g: 0 if d is None else jnp.vdot(g, d).astype(value.dtype),
        dx,
        gradient,
        is_leaf=lambda d: d is None,
    )
    return value, jnp.asarray(sum(jax.tree.leaves(products)), value.dtype)


@eqx.filter_custom_jvp
def _value_and_gradient(x, loss, data, *, name):
    return jax.value_and_grad(loss)(x, *data)


@_value_and_gradient.def_jvp
def _value_and_gradient_jvp(primals, tangents, *, name):
    _refuse(name)


def _refuse(name: str):
    raise ProblemError(
        f"the gradient of {name} cannot be differentiated, because its loss holds a "
        "jax.lax.stop_gradient, a rule or a callback through which JAX knows no right derivative "
        f"of it; {REMEDY}."
    )


def first_order(loss: Callable, name: str) -> Callable:
    """The same loss, whose gradient refuses to be differentiated."""
    if isinstance(loss, MeanLoss):
        return MeanLoss(FirstOrder(loss.loss, name), loss.data)
    return FirstOrder(loss, name)


def findings(loss: Callable, x0: PyTree, program: core.ClosedJaxpr, epsilon: float) -> Findings:
    """What numbers near the start tell of a loss; if its program hides nothing, none is asked for.

    - `program`: that of the loss.
    - `epsilon`: the machine epsilon with which the loss is computed.

    Where the start or numbers of the loss are traced, ones take their place; where its function
    closes over traced values, nothing is asked.
    """
    if not may_hide_derivatives(program) or closes_over_traced_values(loss, program):
        return Findings()
    loss, x0 = _without_traced_values((loss, x0))
    found = Findings()
    with jax.ensure_compile_time_eval():
        for distance in DISTANCES:
            found = compare_with_differences(loss, x0, epsilon, distance)
            if found.is_finite:
                break
    return found


def closes_over_traced_values(loss: Callable, program: core.ClosedJaxpr) -> bool:
    """Whether traced values stand in the function of a loss and not among its leaves."""
    leaves = set(map(id, jax.tree.leaves(loss)))
    return not is_concrete([value for value in program.consts if id(value) not in leaves])


@np.errstate(all="ignore")  # where the loss is not finite
def compare_with_differences(
    loss: Callable, x0: PyTree, epsilon: float, distance: float
) -> Findings:
    """The gradient against differences of the loss, and its derivative against its own differences.

    - `epsilon`: the machine epsilon with which the loss is computed. Smooth losses pass up to a
      relative error of its fifth root, which is 7e-4 in double and 4e-2 in single precision.
    - `distance`: how far from the start to ask, in units of 1 + |x0|.
    """
    start = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(x0)]).astype(float)
    directions = np.random.default_rng(0).normal(size=(NUM_POINTS + 2, start.size))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    size = 1 + np.linalg.norm(start)
    x, h = start + distance * size * directions[0], np.cbrt(epsilon) * size
    v, w = directions[:2]
    far = size * np.linspace(0.1, 1, NUM_POINTS)[:, None] * directions[2:]

    def at(*points):
        rows = np.resize(np.vstack(points), (NUM_POINTS + 5, x.size))  # one shape, one compilation
        values, gradients = (np.asarray(a, float) for a in _values_and_gradients(loss, x0, rows))
        number = len(np.vstack(points))
        return values[:number], gradients[:number]

    def differ(a, b, noise):
        return _differ(a, b, epsilon, noise / h)

    values, gradients = at(x, x + h * v, x - h * v, x + h * w, x - h * w, x + far)
    g, noise = gradients[0], np.linalg.norm(gradients[1:5])
    jacobian = np.stack([gradients[1] - gradients[2], gradients[3] - gradients[4]]) / (2 * h)
    tolerance = epsilon**0.2
    try:
        by_jax = np.asarray(_derivatives(loss, x0, x, directions[:2]), float)
        derivable = not differ(by_jax, jacobian, noise)
    except Exception:  # the gradient refuses to be differentiated, or a callback in it does
        by_jax, derivable = jacobian, False
    if derivable:  # its Jacobian is then known to more digits
        jacobian, tolerance = by_jax, 3 * epsilon**0.5
    asymmetry = abs(jacobian[0] @ w - jacobian[1] @ v)
    lengths = np.linalg.norm(jacobian, axis=1).sum()

    along = g / np.linalg.norm(g) if g.any() else w
    still = ((gradients == 0) | ~np.isfinite(gradients)).all(0)  # these coordinates never move
    others, other_gradients = at(x + h * along, x - h * along, x + still * far)
    rates = np.array([values[1] - values[2], others[0] - others[1]]) / (2 * h)
    expected = np.array([g @ v, g @ along])
    sizes = np.abs([*values[1:3], *others[:2]]).sum() + h * np.linalg.norm(g)
    spread, largest = np.ptp(others[2:]), np.abs(others[2:]).max()
    changes = spread > ROUND_OFF * epsilon**0.5 * largest
    return Findings(
        consistent=not differ(expected, rates, sizes),
        moves=not (still.any() and changes and not other_gradients[:, still].any()),
        derivable=derivable,
        conservative=not asymmetry > tolerance * lengths + ROUND_OFF * epsilon * noise / h,
        is_finite=bool(np.isfinite([*rates, *g, *by_jax.ravel(), *jacobian.ravel()]).all()),
    )


def field_is_derivable(loss: Callable, x0: PyTree, epsilon: float) -> bool:
    """Whether JAX differentiates a field of its own rightly, as differences near the start tell.

    Where the start or numbers of the field are traced, ones take their place.
    """
    loss, x0 = _without_traced_values((loss, x0))
    start = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(x0)]).astype(float)
    size = 1 + np.linalg.norm(start)
    h, noise = np.cbrt(epsilon) * size, 0.0
    v, away = np.random.default_rng(0).normal(size=(2, start.size)) / np.sqrt(start.size)
    with jax.ensure_compile_time_eval():
        for distance in DISTANCES:
            x = start + distance * size * away
            try:
                by_jax, ahead, behind = map(np.asarray, _field_derivative(loss, x0, x, v, h))
            except ProblemError:  # a part of the field refuses to be differentiated
                return False
            if np.isfinite([*by_jax, *ahead, *behind]).all():
                break
        else:
            return True
    noise = np.linalg.norm([ahead, behind])
    return not _differ(by_jax, (ahead - behind) / (2 * h), epsilon, noise / h)


@eqx.filter_jit
def _field_derivative(loss: Callable, x0: PyTree, x: Any, v: Any, h: Any) -> tuple[Array, ...]:
    """The derivative of the field at x along v, as JAX computes it, and the field on both sides."""
    start, unravel = ravel_pytree(x0)

    def field(x):
        return ravel_pytree(gradient(loss, unravel(x)))[0]

    x, v = x.astype(start.dtype), v.astype(start.dtype)
    return jax.jvp(field, (x,), (v,))[1], field(x + h * v), field(x - h * v)


def _without_traced_values(tree: PyTree) -> PyTree:
    return jax.tree.map(
        lambda leaf: np.ones(leaf.shape, leaf.dtype) if isinstance(leaf, Tracer) else leaf, tree
    )


def _differ(a: np.ndarray, b: np.ndarray, epsilon: float, noise: float) -> bool:
    """Whether two vectors differ by more than a smooth function and its differences do."""
    error, lengths = np.linalg.norm(a - b), np.linalg.norm(a) + np.linalg.norm(b)
    return bool(error > epsilon**0.2 * lengths + ROUND_OFF * epsilon * noise)


@eqx.filter_jit
def _values_and_gradients(loss: Callable, x0: PyTree, points: Any) -> tuple[Array, Array]:
    x, unravel = ravel_pytree(x0)
    evaluate = jax.value_and_grad(lambda x: loss(unravel(x)))
    return jax.lax.map(evaluate, points.astype(x.dtype))


@eqx.filter_jit
def _derivatives(loss: Callable, x0: PyTree, x: Any, directions: Any) -> Array:
    """The derivatives of the gradient at x along the directions, as JAX computes them."""
    dtype, unravel = ravel_pytree(x0)[0].dtype, ravel_pytree(x0)[1]
    gradient = jax.grad(lambda x: loss(unravel(x)))
    x = x.astype(dtype)
    return jax.lax.map(lambda v: jax.jvp(gradient, (x,), (v,))[1], directions.astype(dtype))


def warn_of(found: Findings, loss: Callable, name: str) -> None:
    """**Warns:** once, in one sentence, if the gradient of the loss is not that of its value."""
    leaves = jax.tree.leaves(loss, is_leaf=lambda leaf: isinstance(leaf, FirstOrder))
    if (found.consistent and found.moves) or any(isinstance(leaf, FirstOrder) for leaf in leaves):
        return
    subject = f"the gradient of {name} is not the derivative of its value"
    if not found.moves:
        message = (
            f"the gradient of {name} is 0 in coordinates in which its loss changes, as behind "
            "round, sign or jax.lax.stop_gradient, so no optimizer moves them; use a smooth loss, "
            "or keep what shall stay fixed out of `x0`."
        )
    elif not found.derivable:
        message = (
            f"{subject}, and JAX differentiates it wrongly, as behind jax.lax.stop_gradient: runs "
            "follow it, but whatever differentiates it refuses, as Modified, analysis.sharpness "
            f"and derivatives of outcomes; to have those, {REMEDY}."
        )
    else:
        message = (
            f"{subject}, as a rule of its own or jax.lax.stop_gradient makes it: runs follow the "
            "gradient; check the rule, or write a game as a dynopt.Game and what is held by "
            "dynopt.Held."
        )
    warnings.warn(message, stacklevel=6)


def must_be_lowest(problem: Any, losses: np.ndarray, start: float) -> None:
    """Check that the loss at the stated minimizers is the stated `minimum`.

    It may be off by a thousandth of the height of the `start`, since minimizers are rounded.

    - `losses`: the loss at each minimizer; `start`: the loss at the start of a run.

    **Raises:** `InvalidValue`.
    """
    if problem.minimum is None or not np.size(losses):
        return
    height = float(np.max(losses)) - problem.minimum
    if height > 1e-3 * abs(start - problem.minimum) + 1e-6 * (1 + abs(problem.minimum)):
        if problem.owns_field:
            raise InvalidValue(
                f"{problem.name} states equilibria where {problem.symbol} is up to {height:.3g}, "
                "but is 0 at an equilibrium; correct them or leave them out."
            )
        raise InvalidValue(
            f"{problem.name} states minimizers where its loss is up to {height:.3g} above the "
            "stated `minimum`; correct one of the two, or leave both out."
        )


def must_be_gradient(problem: Any, analysis: str) -> None:
    """**Raises:** `ProblemError` if the field of the problem is not the gradient of a function."""
    if not problem.derivable:
        raise ProblemError(
            f"{analysis} needs the derivative of the gradient of {problem.name}, of which JAX "
            f"knows no right one; {REMEDY}."
        )
    if not problem.conservative:
        raise ProblemError(
            f"{analysis} needs a loss that is descended, but the field of {problem.name} is the "
            "gradient of no function, as in a game; use analysis.spectrum, or jax.jacfwd of "
            "problem.field."
        )
