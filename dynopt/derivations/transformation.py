"""An optax transformation as a map on named coordinates of phase space."""

from collections import namedtuple
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike
from jaxtyping import Array, PyTree

from ..checks import Scalar, accepts, tracing_fault
from ..errors import DynoptError, InvalidType, InvalidValue
from ..optimizers.base import Gradient
from ..optimizers.gradient import BatchGradient
from .leaves import StateLayout, first_line, state_layout

Point = Any  # of phase space: a namedtuple of x and the memories
MANY_STEPS = 1000  # in which each counter is tried
JAX_ONLY = "use jax.numpy, in schedules too, such as lambda k: h * jnp.exp(-k * h)"
LATE_COUNT = 1e30  # so many steps after the start every flag is set and every bias corrected


class Transformation(eqx.Module):
    """A family h ↦ `optax.GradientTransformation`, with what each leaf of its state is for.

    - `family`: the function of h.
    - `unravel`: from vectors to PyTrees shaped as the positions; None if positions are vectors.
    - `size`: the length of those vectors.
    - `layout`: the leaves of the state. A leaf of power p is h^p times its coordinate.
    - `scale`: the powers as they were declared.
    """

    family: Callable[[Any], Any]
    unravel: Callable[[Array], PyTree] | None = eqx.field(static=True)
    size: int = eqx.field(static=True)
    layout: StateLayout = eqx.field(static=True)
    scale: tuple[tuple[str, float | int], ...] = eqx.field(static=True)

    def __init__(
        self,
        family: Callable,
        h: ArrayLike,
        scale: Mapping[str, float | int] | None = None,
        like: PyTree = None,
    ):
        if not callable(family):
            raise InvalidType(
                f"`family` must be a function of h, got {family!r}; write lambda h: optax.sgd(h)."
            )
        if not accepts(family, h):
            raise InvalidType(
                "`family` must take one number, h, but it takes other arguments; write "
                "lambda h: optax.sgd(h)."
            )
        if scale is not None and not isinstance(scale, Mapping):
            raise InvalidType(
                f"`scale` must map leaves to powers of h, got {scale!r}; write for example "
                "{'trace': -1}."
            )
        self.family = family
        self.unravel = None if like is None else _unravel_like(like)
        self.size = 3 if like is None else sum(np.size(leaf) for leaf in jax.tree.leaves(like))
        sample = self.to_tree(jnp.asarray(self.sample_position))
        self.scale = tuple((scale or {}).items())
        try:
            transform = family(h)
        except Exception as error:
            raise InvalidType(
                f"`family(h)` raised {type(error).__name__} ({first_line(error)}); return a "
                "transformation for every positive h, such as optax.sgd(h)."
            ) from error
        self.layout = state_layout(transform, sample, scale or {})

    @property
    def name(self) -> str:
        name = getattr(self.family, "name", None) or getattr(
            self.family, "__name__", type(self.family).__name__
        )
        return str(name).strip("<>")

    @property
    def name_in_sentence(self) -> str:
        return "this family" if self.name == "lambda" else self.name

    @property
    def fields(self) -> tuple[str, ...]:
        return ("x", *(leaf.name for leaf in self.layout.memories))

    @property
    def sample_position(self) -> np.ndarray:
        """A position without symmetries, at which a family is evaluated when it is made."""
        return np.cos(np.arange(self.size) + 0.4) + 0.1

    @property
    def like(self) -> PyTree | None:
        """A PyTree shaped as the positions; None if positions are vectors."""
        return None if self.unravel is None else self.unravel(jnp.zeros(self.size))

    def must_be_a_map(self, h: Scalar) -> None:
        """Trace one step in h, and try the counters of steps.

        **Raises:** `InvalidType` if a step cannot be traced in h; `InvalidValue` if an integer
        leaf counts anything but steps.
        """
        h, x = jnp.asarray(h), jnp.asarray(self.sample_position)

        def first_step(h):
            return self.update(h, jnp.asarray(0), self.start(h, x), SAMPLE_GRADIENT)

        try:
            jax.eval_shape(first_step, h)
        except Exception as error:
            fault = tracing_fault(error, "the traced h")
            what, remedy = (
                (f"cannot be updated ({first_line(error)})", "return for example optax.sgd(h)")
                if fault is None
                else (fault[0], JAX_ONLY)
            )
            raise InvalidType(f"{self.name_in_sentence} {what}; {remedy}.") from error
        if not self.layout.has_counter:
            return
        for path, counts in _counts_steps(self, h, x).items():
            if not counts:
                raise InvalidValue(
                    f"the state leaf `{path}` of {self.name_in_sentence} is no real number and "
                    "does not count steps, so it is no function of the time; use a transformation "
                    "whose whole numbers count steps."
                )

    def evaluate_at_sample(self, measure: Callable[..., PyTree], h: Scalar) -> PyTree:
        """`measure(transformation, h, y, grad)` in float64, three steps of `h` after the start.

        **Raises:** `InvalidValue` if the map cannot be evaluated between two steps.
        """
        with jax.enable_x64(True), jax.ensure_compile_time_eval():
            transformation = jax.tree.map(
                lambda value: jnp.asarray(value) if isinstance(value, float) else value, self
            )
            h, x = jnp.asarray(float(h)), jnp.asarray(self.sample_position)
            try:
                result = _measure_after_three_steps(measure, transformation, h, x)
            except DynoptError:
                raise
            except Exception as error:
                raise InvalidValue(
                    f"{self.name_in_sentence} has no flow, because it cannot be evaluated between "
                    f"two of its steps ({first_line(error)}); use dynopt.iterate, which runs its "
                    "map all the same."
                ) from error
            return jax.tree.map(np.asarray, result)

    def to_tree(self, x: Array) -> PyTree:
        if self.unravel is None:
            return x
        if x.size != self.size:
            raise InvalidValue(
                f"{self.name_in_sentence} was made for positions of {self.size} numbers, got "
                f"{x.size}; pass the problem's own start as `like`."
            )
        return self.unravel(x)

    def start(self, h: ArrayLike, x: Array) -> Point:
        return self._point(h, x, jax.tree.leaves(self.family(h).init(self.to_tree(x))))

    def update(self, h: ArrayLike, count: ArrayLike, y: Point, grad: Gradient) -> Point:
        """The library's own update after `count` steps, a whole number or a number between two.

        A flag has its first value at the count 0 and no other.
        """
        x = self.to_tree(y.x)
        first_state = self.family(h).init(x)
        state, structure = jax.tree.flatten(first_state)
        is_whole = jnp.issubdtype(jnp.result_type(count), jnp.integer)
        if any(leaf.role == "flag" for leaf in self.layout.leaves):
            later = jax.tree.leaves(self.library_update(h, first_state, y.x, grad)[1])
        else:
            later = state
        for i, leaf in enumerate(self.layout.leaves):
            if leaf.role == "memory":
                value = getattr(y, leaf.name)
                state[i] = value * h**leaf.power if leaf.power else value
            elif leaf.role == "counter":
                state[i] = state[i] + jnp.asarray(count, state[i].dtype if is_whole else None)
            elif leaf.role == "flag":
                state[i] = jnp.where(count == 0, state[i], later[i]) if is_whole else later[i]
        updates, new_state = self.library_update(h, jax.tree.unflatten(structure, state), y.x, grad)
        new_x = ravel_pytree(optax.apply_updates(x, updates))[0].reshape(y.x.shape)
        return self._point(h, new_x, jax.tree.leaves(new_state))

    def update_at_time(self, h: ArrayLike, t: ArrayLike, y: Point, grad: Gradient) -> Point:
        """The update at any time t, where the number of steps is t/h; it never is the first."""
        return self.update(h, t / h if self.layout.has_counter else LATE_COUNT, y, grad)

    def library_update(self, h: ArrayLike, state: Any, x: Array, grad: Gradient) -> Any:
        """The updates and the next state, from all that the transformation may ask for.

        **Raises:** `InvalidValue` if it asks for the loss and `grad` does not know it.
        """
        loss: Any = getattr(grad, "loss", None)
        if loss is None and self.layout.needs_loss:
            raise InvalidValue(
                f"{self.name_in_sentence} asks for the loss, which this gradient does not know; "
                "pass the optimizer itself to dynopt.iterate or dynopt.integrate."
            )

        def vector(tree):
            return ravel_pytree(tree)[0].reshape(x.shape)

        g = self.to_tree(grad(x))
        extra = {"grad": g, "grad_fn": lambda tree, *_: self.to_tree(grad(vector(tree)))}
        if loss is not None:
            extra |= {"value": loss(x), "value_fn": lambda tree: loss(vector(tree))}
        given = {name: extra[name] for name in self.layout.extra if name in extra}
        transform = optax.with_extra_args_support(self.family(h))
        return transform.update(g, state, self.to_tree(x), **given)

    def _point(self, h: ArrayLike, x: Array, state: list[Array]) -> Point:
        pairs = zip(self.layout.leaves, state, strict=True)
        memories = [
            value / h**leaf.power if leaf.power else value
            for leaf, value in pairs
            if leaf.role == "memory"
        ]
        return _point_type(self.fields)(x, *memories)

    def decay(self, name: str, h: ArrayLike, count: ArrayLike, y: Point, grad: Gradient) -> Array:
        """The decay rate of a memory: the fraction of each entry that one step keeps."""

        def updated(value):
            return getattr(self.update(h, count, y._replace(**{name: value}), grad), name)

        value = getattr(y, name)
        return jax.jvp(updated, (value,), (jnp.ones_like(value),))[1]


@eqx.filter_jit
def _counts_steps(transformation: Transformation, h: Array, x: Array) -> dict[str, Array]:
    """For each counter, by its path, whether each of many steps raises it by one."""
    state, structure = jax.tree.flatten(transformation.family(h).init(transformation.to_tree(x)))
    steps = jnp.arange(MANY_STEPS)
    counts = {}
    for i, leaf in enumerate(transformation.layout.leaves):
        if leaf.role != "counter":
            continue

        def next_value(n, i=i):
            leaves = [n.astype(state[i].dtype) if j == i else s for j, s in enumerate(state)]
            state_n = jax.tree.unflatten(structure, leaves)
            new_state = transformation.library_update(h, state_n, x, SAMPLE_GRADIENT)[1]
            return jax.tree.leaves(new_state)[i]

        is_single = state[i].ndim == 0
        counts[leaf.path] = is_single and (jax.vmap(next_value)(steps) == steps + 1).all()
    return counts


@eqx.filter_jit
def _measure_after_three_steps(
    measure: Callable[..., PyTree], transformation: Transformation, h: Array, x: Array
) -> PyTree:
    """Compiled once for all values in a family, as long as they are fields of it."""
    y = transformation.start(h, x)
    for k in range(3):
        y = transformation.update(h, k, y, SAMPLE_GRADIENT)
    return measure(transformation, h, y, SAMPLE_GRADIENT)


# A gradient without symmetries, whose curvature depends on the position.
SAMPLE_GRADIENT = BatchGradient(
    lambda x: x + jnp.sin(2 * x) / 3, loss=lambda x: jnp.sum(x**2 / 2 - jnp.cos(2 * x) / 6)
)


@lru_cache
def _point_type(fields: tuple[str, ...]) -> Callable[..., Point]:
    return namedtuple("OptaxState", fields)


@lru_cache
def _unravel(structure, shapes):
    """One function per structure, so that optimizers of one kind share their compiled code."""
    ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes])[:-1]
    return lambda x: jax.tree.unflatten(
        structure,
        [part.reshape(shape) for part, shape in zip(jnp.split(x, ends), shapes, strict=True)],
    )


def _unravel_like(like: PyTree) -> Callable[[Any], PyTree]:
    leaves, structure = jax.tree.flatten(like)
    return _unravel(structure, tuple(np.shape(leaf) for leaf in leaves))
