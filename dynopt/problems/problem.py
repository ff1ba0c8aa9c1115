"""A problem is a loss that knows where to start, where its minimizers are, which window to look through, and its source."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ..errors import InvalidType, InvalidValue, ProblemError

Window = tuple[tuple[float, float], tuple[float, float]]


class Problem(eqx.Module):
    """Anything that JAX can differentiate, and a place to start.

    - `loss`: a function of the position that returns one real number. Random numbers, prints and counters inside it
      happen once, when it is traced.
    - `x0`: the start, an array of any shape or a PyTree of them; integers become floats. A start given elsewhere
      (`iterate(..., x0=...)`) must have the same structure and shapes.
    - `name`: what pictures and files call it; by default the function's own name.
    - `minimizers`: all known ones, shape `(number, dim)`. - `minimum`: the loss there.
    - `window`: `((x_low, x_high), (y_low, y_high))`, what a picture of a plane shows.
    - `source`: where it comes from.

    **Raises:** `ProblemError` if the loss cannot be traced, or does not return one real number.

    >>> bowl = Problem(lambda x: (x**2).sum(), [3.0, 4.0], name="bowl")
    >>> bowl
    Problem(bowl, dim=2)
    """

    loss: Callable[[PyTree], Array]
    x0: PyTree
    name: str = eqx.field(static=True)
    minimizers: np.ndarray | None
    minimum: float | None
    window: Window | None = eqx.field(static=True)
    source: str = eqx.field(static=True)

    def __init__(
        self,
        loss: Callable[[Any], Any],
        x0: Any,
        *,
        name: str | None = None,
        minimizers: Any = None,
        minimum: float | None = None,
        window: Sequence[Sequence[float]] | None = None,
        source: str = "",
    ):
        if not callable(loss):
            raise InvalidType(f"`loss` must be a function of the position, got {loss!r}; pass for example lambda x: (x**2).sum().")
        self.loss = loss
        self.x0 = _as_position(x0)
        self.name = getattr(loss, "__name__", type(loss).__name__).strip("<>") if name is None else name
        self.minimizers = None if minimizers is None else np.atleast_2d(np.asarray(minimizers, float))
        self.minimum = None if minimum is None else float(minimum)
        self.window = None if window is None else _as_window(window)
        self.source = source
        probe(self.loss, self.x0, self.name)

    @property
    def dim(self) -> int:
        return sum(np.size(leaf) for leaf in jax.tree.leaves(self.x0))

    def start(self, x0: Any = None) -> PyTree[Array]:
        """The start, as jax arrays: the problem's own, or `x0` once it is known to fit.

        **Raises:** `InvalidValue` if `x0` has other shapes or another structure than the problem's own start, or is
        not finite.
        """
        x0 = self.x0 if x0 is None else _as_position(x0)
        got, want = (jax.tree.map(np.shape, x) for x in (x0, self.x0))
        if jax.tree.structure(x0) != jax.tree.structure(self.x0):
            raise InvalidValue(
                f"`x0` must have the structure of {self.name}'s own start, {jax.tree.structure(self.x0)}, "
                f"got {jax.tree.structure(x0)}."
            )
        if got != want:
            many = "; for many starts use equinox.filter_vmap" if jax.tree.leaves(got)[:1] != [] and np.ndim(x0) == 2 else ""
            raise InvalidValue(f"`x0` has shape {got} but {self.name} wants {want}; pass a start of that shape{many}.")
        return jax.tree.map(jnp.asarray, x0)

    def __repr__(self) -> str:
        return f"Problem({self.name}, dim={self.dim})"


def _as_position(x0: Any) -> PyTree:
    """A copy of the start with float leaves; a bare list or tuple of numbers is one vector."""
    if x0 is None or isinstance(x0, str | bytes):
        raise InvalidType(f"`x0` must be numbers, got {x0!r}; pass for example [1.0, 2.0].")
    if isinstance(x0, list | tuple) and all(isinstance(v, int | float | np.number) for v in x0):
        x0 = np.array(x0)
    if not jax.tree.leaves(x0) or any(np.size(leaf) == 0 for leaf in jax.tree.leaves(x0)):
        raise InvalidValue("`x0` is empty; pass at least one number.")
    return jax.tree.map(_as_floats, x0)


def _as_floats(leaf: Any) -> Any:
    if isinstance(leaf, jax.core.Tracer):
        return leaf
    array = np.array(leaf)
    if array.dtype == bool or array.dtype.kind not in "iuf" and not jnp.issubdtype(array.dtype, jnp.floating):
        raise InvalidType(f"`x0` must hold real numbers, got {array.dtype} in {leaf!r}; pass floats.")
    if array.dtype.kind in "iu":
        array = array.astype(float)
    finite = np.isfinite(array)
    if not finite.all():
        where = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise InvalidValue(f"`x0` is {array[where]} at coordinate {where[0] if len(where) == 1 else where}; pass finite numbers.")
    return array


def _as_window(window: Sequence[Sequence[float]]) -> Window:
    sides = np.asarray(window, float)
    if sides.shape != (2, 2) or not np.isfinite(sides).all() or not (sides[:, 0] < sides[:, 1]).all():
        raise InvalidValue(f"`window` must be ((x_low, x_high), (y_low, y_high)) with low < high, got {window!r}.")
    return tuple((float(low), float(high)) for low, high in sides)  # pyright: ignore[reportReturnType]


def probe(loss: Callable[[Any], Any], x0: PyTree, name: str) -> None:
    """Trace the loss once, without running it, and say in one sentence what is wrong with it."""
    try:
        value = jax.eval_shape(loss, jax.tree.map(jnp.asarray, x0))
    except (jax.errors.TracerArrayConversionError, jax.errors.TracerBoolConversionError, jax.errors.ConcretizationTypeError) as error:
        remedy = {
            jax.errors.TracerArrayConversionError: "uses numpy on a traced value; use jax.numpy instead",
            jax.errors.TracerBoolConversionError: "branches on a traced value; use jax.numpy.where or jax.lax.cond instead of `if`",
        }.get(type(error), "turns a traced value into a Python number; keep it a jax array")
        raise ProblemError(f"the loss of {name} {remedy}.") from error
    except TypeError as error:
        if _wants_other_arguments(loss):
            raise ProblemError(f"the loss of {name} must take one argument, the position: it is called as f(x).") from error
        error.add_note(f"while evaluating the loss of {name}")
        raise
    except Exception as error:
        error.add_note(f"while evaluating the loss of {name}")
        raise
    shape, kind = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is None or kind is None:
        raise ProblemError(f"the loss of {name} must return one number, returned {value!r}; return a jax scalar.")
    if shape != ():
        raise ProblemError(f"the loss of {name} must return one number, returned an array of shape {shape}; sum it or take its mean.")
    if not jnp.issubdtype(kind, jnp.floating):
        raise ProblemError(f"the loss of {name} must return a real number, returned {kind}; return a float (multiply by 1.0).")


def _wants_other_arguments(loss: Callable) -> bool:
    try:
        inspect.signature(loss).bind(0)
    except TypeError:
        return True
    except ValueError:
        return False
    return False
