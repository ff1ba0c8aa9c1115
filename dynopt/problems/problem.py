"""A problem is a loss that knows its start, its minimizers, the window to look through, and its source."""

import inspect
import reprlib
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ..checks import number, tracing_fault
from ..errors import InvalidType, InvalidValue, ProblemError
from .arrays import is_plain, reals
from .over_data import MeanLoss, as_data, must_be_mean

Window = tuple[tuple[float, float], tuple[float, float]]


class Problem(eqx.Module):
    """Anything that JAX can differentiate, and a place to start.

    - `loss`: a function of the position that returns one real number. Random numbers, prints and counters inside it
      happen once, when it is traced.
    - `x0`: the start, an array of any shape or a PyTree of them. Lists and tuples of numbers are arrays, integers
      become floats, and the numbers are copied. A start given elsewhere (`iterate(..., x0=...)`) must have the same
      structure and shapes.
    - `data`: arrays with one common first axis, the examples, or a PyTree of them. Then the loss is called as
      `loss(x, data)`, must be a mean over the examples, and becomes a `MeanLoss`: again a function of x alone.
    - `name`: what pictures and files call it; by default the name of the loss.
    - `minimizers`: all known ones, shape `(number, dim)`. - `minimum`: the loss there.
    - `window`: `((x_low, x_high), (y_low, y_high))`, what a picture of a plane shows.
    - `source`: where it comes from.

    **Raises:** `ProblemError` if the loss cannot be traced, does not return one real number, or is no mean over the
    data; `InvalidType` and `InvalidValue` for a start or data that are not finite numbers or do not fit.

    >>> bowl = Problem(lambda x: (x**2).sum(), [3.0, 4.0], name="bowl", minimizers=[0.0, 0.0], minimum=0.0)
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
    name: str = eqx.field(static=True)
    minimizers: np.ndarray | None
    minimum: float | None
    window: Window | None = eqx.field(static=True)
    source: str = eqx.field(static=True)

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
        self.loss = loss if data is None else MeanLoss(loss, as_data(data))
        self.x0 = _as_position(x0)
        self.name = _as_text("name", name if name is not None else _name(loss))
        self.minimizers = None if minimizers is None else _as_points(minimizers, self.dim)
        self.minimum = None if minimum is None else float(number("minimum", minimum))
        self.window = None if window is None else as_window(window)
        self.source = _as_text("source", source)
        probe(self.loss, self.start(), self.name)
        if isinstance(self.loss, MeanLoss):
            must_be_mean(self.loss, self.start(), self.name)

    @property
    def dim(self) -> int:
        return sum(np.size(leaf) for leaf in jax.tree.leaves(self.x0))

    def start(self, x0: Any = None) -> PyTree[Array]:
        """The start, as jax arrays: the problem's own, or `x0` once it is known to fit.

        **Raises:** `InvalidValue` if `x0` has other shapes or another structure than the problem's own start, or is
        not finite; `InvalidType` if it does not hold real numbers.
        """
        x0, shapes = self._beside_own(x0)
        for name, got, want in shapes:
            if got != want:
                here = f"`{name}` has shape {got} but {self.name} wants {want}"
                many = ", and for many starts use dynopt.sweep" if got[1:] == want else ""
                raise InvalidValue(f"{here}; pass a start of that shape{many}.")
        return jax.tree.map(jnp.asarray, x0)

    def starts(self, x0: Any = None) -> tuple[PyTree, tuple[int, ...]]:
        """Many starts as they are, `(batch, shape of a position)` each, and the shape of the batch; of one start `()`.

        **Raises:** `InvalidValue` and `InvalidType` as `start` does, and if the leaves have different batches.
        """
        x0, shapes = self._beside_own(x0)
        _, first, own = shapes[0]
        batch = first[: max(len(first) - len(own), 0)]
        for name, got, want in shapes:
            if got != (*batch, *want):
                wanted = ", ".join(map(str, (*(["..."] if name == shapes[0][0] else batch), *want)))
                here = f"`{name}` has shape {got} but {self.name} wants ({wanted})"
                raise InvalidValue(f"{here}, axes of the batch first; pass starts of that shape.")
        return x0, batch

    def _beside_own(
        self, x0: Any
    ) -> tuple[PyTree, list[tuple[str, tuple[int, ...], tuple[int, ...]]]]:
        """`x0` as a tree like the problem's own start; the name, shape and own shape of each leaf."""
        x0 = self.x0 if x0 is None else _as_position(x0)
        got, want = jax.tree.structure(x0), jax.tree.structure(self.x0)
        if got != want:
            raise InvalidValue(
                f"`x0` is {got} but {self.name} wants {want}; pass a start of that structure."
            )
        leaves = zip(jax.tree_util.tree_leaves_with_path(x0), jax.tree.leaves(self.x0), strict=True)
        return x0, [
            (f"x0{jax.tree_util.keystr(path)}", np.shape(leaf), np.shape(own))
            for (path, leaf), own in leaves
        ]

    def __repr__(self) -> str:
        return f"Problem({self.name}, dim={self.dim})"


def must_be_problem(value: Any) -> None:
    """**Raises:** `InvalidType` if `value` is no `Problem`."""
    if not isinstance(value, Problem):
        raise InvalidType(
            f"`problem` must be a dynopt.Problem, got {value!r}; wrap a loss as dynopt.Problem(loss, x0)."
        )


def cited(constructor: Callable) -> str:
    """What the docstring of a problem gives as its source."""
    return " ".join((inspect.getdoc(constructor) or "").partition("Source: ")[2].split()).rstrip(
        "."
    )


def _as_position(x0: Any) -> PyTree:
    if x0 is None or isinstance(x0, str | bytes):
        raise InvalidType(f"`x0` must be numbers, got {x0!r}; pass for example [1.0, 2.0].")
    if is_plain(x0):
        return _nonempty(reals("x0", x0))
    leaves, structure = jax.tree_util.tree_flatten_with_path(x0)
    leaves = [reals("x0" + jax.tree_util.keystr(path), leaf) for path, leaf in leaves]
    return _nonempty(jax.tree.unflatten(structure, leaves))


def _nonempty(x0: PyTree) -> PyTree:
    if not jax.tree.leaves(x0) or any(np.size(leaf) == 0 for leaf in jax.tree.leaves(x0)):
        raise InvalidValue("`x0` is empty; pass at least one number.")
    return x0


def _as_points(minimizers: Any, dim: int) -> np.ndarray:
    points = np.atleast_2d(reals("minimizers", minimizers))
    if points.ndim != 2 or points.shape[1] != dim:
        raise InvalidValue(
            f"`minimizers` have shape {np.shape(minimizers)}; pass (number, {dim}), one row for each."
        )
    return points


def as_window(window: Any) -> Window:
    sides = reals("window", window)
    if sides.shape != (2, 2) or not (sides[:, 0] < sides[:, 1]).all():
        raise InvalidValue(
            f"`window` is {window!r}; pass ((x_low, x_high), (y_low, y_high)) with low < high."
        )
    (left, right), (bottom, top) = sides.tolist()
    return (left, right), (bottom, top)


def _name(loss: Callable) -> str:
    return getattr(loss, "__name__", type(loss).__name__).strip("<>_")


def _as_text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidType(f"`{name}` must be text, got {value!r}; put it in quotes.")
    return value


def probe(loss: Callable[[Any], Any], x0: PyTree, name: str) -> None:
    """Trace the loss once, without running it, and say in one sentence what is wrong with it.

    What the loss itself raises keeps its class and its words.
    """

    who = f"the loss of {name}"
    written, called = (loss.loss, "f(x, data)") if isinstance(loss, MeanLoss) else (loss, "f(x)")

    def look(x):
        value = loss(x)
        if isinstance(value, jax.Array | np.ndarray | np.generic | int | float | complex):
            return value
        raise ProblemError(
            f"{who} must return one number, returned {reprlib.repr(value)}; return a jax scalar."
        )

    try:
        value = jax.eval_shape(look, x0)
    except Exception as error:
        if known := tracing_fault(error):
            raise ProblemError(f"{who} {known[0]}{_line(error, written)}; {known[1]}.") from error
        if isinstance(error, TypeError) and _wants_other_arguments(written, called.count(",") + 1):
            takes = (
                "one argument, the position"
                if written is loss
                else "two arguments, the position and the data"
            )
            raise ProblemError(f"{who} must take {takes}: it is called as {called}.") from error
        if not isinstance(error, ProblemError):
            error.add_note(f"while evaluating {who}")
        raise
    if value.shape != ():
        raise ProblemError(
            f"{who} must return one number, returned shape {value.shape}; sum it or take its mean."
        )
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise ProblemError(
            f"{who} must return a real number, returned {value.dtype}; multiply by 1.0, or take .real."
        )


def _line(error: Exception, loss: Callable) -> str:
    """Where in the file of the loss it happened, if that can be known."""
    try:
        file = inspect.getfile(inspect.unwrap(loss) if inspect.isroutine(loss) else type(loss))
    except (TypeError, OSError):
        return ""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == file
    ]
    # the file of a notebook's cell has a made-up name
    return (
        (f" on line {lines[-1]}" + f" of {Path(file).name}" * Path(file).is_file()) if lines else ""
    )


def _wants_other_arguments(loss: Callable, given: int) -> bool:
    try:
        inspect.signature(loss).bind(*range(given))
    except TypeError:
        return True
    except ValueError:
        return False
    return False
