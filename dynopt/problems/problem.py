"""A problem: a loss with its start, its known minimizers, its window in pictures and its source."""

import inspect
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ..checks import number
from ..errors import InvalidType, InvalidValue
from .arrays import real_array
from .examine import examine
from .field import gradient, own_field
from .held import Held
from .over_data import MeanLoss, as_data
from .position import Completed, as_position, must_be_the_constants

Window = tuple[tuple[float, float], tuple[float, float]]
Shape = tuple[int, ...]


class Problem(eqx.Module):
    """A loss that JAX can differentiate, and a position to start from.

    - `loss`: a function of the position that returns one real number. It must be the same function
      each time: it is traced twice, and refused if it has drawn other random numbers. It may also
      be a `Held` loss; a `Game` makes a problem of players with losses of their own.
    - `x0`: the start, an array of any shape or a PyTree of arrays. A list or tuple of numbers is
      one array, and so is a list of numbers in a PyTree. Whole numbers become floats, and all
      numbers are copied. The floats have one dtype, which is that of the runs; numbers of Python
      take the dtype of the arrays beside them. A start given elsewhere (`iterate(..., x0=...)`)
      must have the same structure and shapes.
      In a PyTree, arrays of whole numbers or booleans (a permutation, a counter, a mask) stay what
      they are. They are `constants` and no coordinates: the loss and the positions `x` of results
      have them, but `start()` and gradients have None in their place.
    - `data`: arrays with one common first axis, the examples, or a PyTree of such arrays; by
      default there are none. With data the loss is called as `loss(x, data)`, must be a mean over
      the examples, and becomes a `MeanLoss`: again a function of x alone.
    - `name`: the name in pictures and files; by default that of the loss.
    - `minimizers`: all that are known, shape `(number, dim)`.
    - `minimum`: the loss at the minimizers.
    - `window`: `((x_low, x_high), (y_low, y_high))`, the part of a plane that a picture shows.
    - `source`: where the problem comes from.

    Three attributes tell what is known of the field that optimizers follow.
    `jax.lax.stop_gradient`, roundings and rules of the user may change a derivative; only where the
    loss uses them, numbers near the start are compared with differences, as far as no traced value
    hides them.

    - `derivable`: JAX differentiates the gradient rightly. Where it does not, as behind
      `jax.lax.stop_gradient`, runs are right, and the gradient of `loss` refuses to be
      differentiated.
    - `conservative`: the field is the gradient of a function, so that its Jacobian is symmetric. It
      is False for every `Game` and every `Held` loss, whatever their Jacobian.
    - `precision`: the machine epsilon of the coarsest dtype through which the loss depends on the
      position; 2.2e-16 in double precision.

    **Raises:** `ProblemError` if the loss cannot be traced or differentiated, does not return one
    real number, is another function each time, or is no mean over the data; `InvalidType` and
    `InvalidValue` for a start or data that are not finite numbers or do not fit.

    **Warns:** if the gradient near the start is not the derivative of the loss, as with a wrong
    rule, or is 0 although the loss changes, as behind `round`.

    >>> bowl = Problem(
    ...     lambda x: (x**2).sum(), [3.0, 4.0], name="bowl", minimizers=[0.0, 0.0], minimum=0.0
    ... )
    >>> bowl
    Problem(bowl, dim=2)
    >>> float(bowl.loss(bowl.start()))
    25.0
    >>> fit = Problem(lambda x, data: ((data - x) ** 2).mean(), 0.0, data=[1.0, 3.0], name="fit")
    >>> float(fit.loss(fit.start())), fit.loss.examples
    (5.0, 2)
    """

    loss: Callable[[Any], Any]
    x0: PyTree
    constants: PyTree
    name: str = eqx.field(static=True)
    minimizers: np.ndarray | None
    minimum: float | None
    window: Window | None = eqx.field(static=True)
    source: str = eqx.field(static=True)
    derivable: bool = eqx.field(static=True)
    conservative: bool = eqx.field(static=True)
    precision: float = eqx.field(static=True)

    def __init__(
        self,
        loss,
        x0,
        *,
        data=None,
        name=None,
        minimizers=None,
        minimum=None,
        window=None,
        source="",
    ):
        if not callable(loss):
            raise InvalidType(
                f"`loss` must be a function of the position, got {loss!r}; pass a callable."
            )
        self.name = _as_text("name", name if name is not None else _function_name(loss))
        self.x0, self.constants = as_position(x0)
        if jax.tree.leaves(self.constants):
            own = own_field(loss)
            complete = Completed if own is None else lambda _, constants: own.completed(constants)
            loss = complete(loss, self.constants)
        loss = loss if data is None else MeanLoss(loss, as_data(data))
        self.minimizers = None if minimizers is None else _as_points(minimizers, self.dim)
        self.minimum = None if minimum is None else float(number("minimum", minimum))
        self.window = None if window is None else as_window(window)
        self.source = _as_text("source", source)
        self.loss, self.precision, found = examine(loss, self.start(), self.name)
        self.derivable, self.conservative = found.derivable, found.conservative

    @property
    def dim(self) -> int:
        """The number of coordinates of a position."""
        return sum(np.size(leaf) for leaf in jax.tree.leaves(self.x0))

    @property
    def symbol(self) -> str:
        """What pictures call `loss`: f, or what they show of a field, such as |g|."""
        own = own_field(self.loss)
        return "f" if own is None else own.symbol

    @property
    def owns_field(self) -> bool:
        """Whether optimizers follow a field of its own, and not the gradient of `loss`."""
        return own_field(self.loss) is not None

    def field(self, x: Any) -> PyTree[Array]:
        """What optimizers follow, moving along its negative: the gradient ∇f(x) of a loss.

        Of a `Game` it is the gradients of the players, and of a `Held` loss the gradient through
        its first argument.

        - `x`: a position.

        **Raises:** as `start` does, if `x` is not a position of the problem.

        >>> bowl = Problem(lambda x: (x**2).sum(), [3.0, 4.0], name="bowl")
        >>> bowl.field([3.0, 4.0]).tolist()
        [6.0, 8.0]
        """
        return gradient(self.loss, self.start(x))

    def start(self, x0: Any = None) -> PyTree[Array]:
        """The start as jax arrays: the problem's own, or `x0` if it has the same shapes.

        **Raises:** `InvalidValue` if `x0` has other shapes or another structure than the problem's
        own start, or is not finite; `InvalidType` if it does not hold real numbers.
        """
        x0, shapes = self._with_shapes(x0)
        for name, shape, expected in shapes:
            if shape != expected:
                is_batch = shape[1:] == expected
                advice = ", and for many starts use dynopt.sweep" if is_batch else ""
                raise InvalidValue(
                    f"`{name}` has shape {shape} but {self.name} wants {expected}; pass a start of "
                    f"that shape{advice}."
                )
        return jax.tree.map(jnp.asarray, x0)

    def starts(self, x0: Any = None) -> tuple[PyTree, Shape]:
        """A batch of starts as it is, and the shape of the batch; `()` for one start.

        Each leaf has the shape `(*batch, *shape of the leaf in a position)`.

        **Raises:** `InvalidValue` and `InvalidType` as `start` does, and if the leaves have
        different batches.
        """
        x0, shapes = self._with_shapes(x0)
        first_name, first_shape, first_expected = shapes[0]
        batch = first_shape[: max(len(first_shape) - len(first_expected), 0)]
        for name, shape, expected in shapes:
            if shape != (*batch, *expected):
                axes = ["..."] if name == first_name else batch
                needed = ", ".join(map(str, (*axes, *expected)))
                raise InvalidValue(
                    f"`{name}` has shape {shape} but {self.name} wants ({needed}), axes of the "
                    "batch first; pass starts of that shape."
                )
        return x0, batch

    def _with_shapes(self, x0: Any) -> tuple[PyTree, list[tuple[str, Shape, Shape]]]:
        """`x0` as a tree of arrays, and for each leaf its name, its shape and that of the start."""
        if x0 is None:
            x0 = self.x0
        else:
            x0, constants = as_position(x0, eqx.combine(self.x0, self.constants))
            must_be_the_constants(constants, self.constants, self.name)
        structure, expected = jax.tree.structure(x0), jax.tree.structure(self.x0)
        if structure != expected:
            raise InvalidValue(
                f"`x0` is {structure} but {self.name} wants {expected}; pass a start of that "
                "structure."
            )
        leaves = jax.tree_util.tree_leaves_with_path(x0)
        pairs = zip(leaves, jax.tree.leaves(self.x0), strict=True)
        return x0, [
            (f"x0{jax.tree_util.keystr(path)}", np.shape(leaf), np.shape(start))
            for (path, leaf), start in pairs
        ]

    def __repr__(self) -> str:
        return f"Problem({self.name}, dim={self.dim})"


def must_be_problem(value: Any) -> None:
    """**Raises:** `InvalidType` if `value` is no `Problem`."""
    if not isinstance(value, Problem):
        raise InvalidType(
            f"`problem` must be a dynopt.Problem, got {value!r}; wrap a loss as "
            "dynopt.Problem(loss, x0)."
        )


def source_in_docstring(constructor: Callable) -> str:
    """The source of a problem, as the last paragraph of its docstring gives it."""
    _, _, source = (inspect.getdoc(constructor) or "").partition("Source: ")
    return " ".join(source.split()).rstrip(".")


def _as_points(minimizers: Any, dim: int) -> np.ndarray:
    points = np.atleast_2d(real_array("minimizers", minimizers))
    if points.ndim != 2 or points.shape[1] != dim:
        raise InvalidValue(
            f"`minimizers` have shape {np.shape(minimizers)}; pass (number, {dim}), one row for "
            "each."
        )
    if len(np.unique(points, axis=0)) < len(points):
        raise InvalidValue("`minimizers` holds one point twice; pass each of them once.")
    return points


def as_window(window: Any) -> Window:
    """`window` as a tuple of two pairs of floats.

    **Raises:** `InvalidValue` or `InvalidType` if it is no window.
    """
    sides = real_array("window", window)
    if sides.shape != (2, 2) or not (sides[:, 0] < sides[:, 1]).all():
        raise InvalidValue(
            f"`window` is {window!r}; pass ((x_low, x_high), (y_low, y_high)) with low < high."
        )
    (left, right), (bottom, top) = sides.tolist()
    return (left, right), (bottom, top)


def _function_name(loss: Callable) -> str:
    function = loss.loss if isinstance(loss, Held) else loss
    return getattr(function, "__name__", type(function).__name__).strip("<>_")


def _as_text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidType(f"`{name}` must be text, got {value!r}; put it in quotes.")
    return value
