"""Optimizers and losses as parts of a web page: what a reader may change, and JavaScript."""

import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .. import optimizers, problems
from ..derivations import Modified
from ..errors import DynoptError, InvalidValue
from ..files import printable
from ..optimizers import AbstractOptimizer
from ..optimizers.base import hyperparameter_defaults
from ..optimizers.equations import equations
from ..optimizers.gradient import BatchGradient
from ..optimizers.wrappers.base import AbstractDerived
from ..problems import Problem
from ..runs.prepare import fit_to_start, flatten_loss
from ..scalar import opaque_gradient, to_javascript, to_lanes, trace

DIM = 2  # of the planes that are drawn
DECAY_RATES = {"momentum", "decay", "b1", "b2", "beta"}
SYMBOLS = {
    "learning_rate": "η", "momentum": "μ", "decay": "β", "b1": "β₁", "b2": "β₂", "beta": "β",
    "eps": "ε", "eps_root": "ε₀", "weight_decay": "λ",
}  # fmt: skip


class Part(NamedTuple):
    """An optimizer or a problem in a web page.

    - `description`: what a reader is shown of it, as JSON.
    - `functions`: the JavaScript of its functions, by name.
    """

    description: dict[str, Any]
    functions: dict[str, str]

    @property
    def size(self) -> int:
        return sum(map(len, self.functions.values()))

    @property
    def order(self) -> int:
        """The order of the highest derivative of the gradient that its functions ask for."""
        text = " ".join(self.functions.values())
        return max(map(int, re.findall(r"\$\[(\d)\]\(", text)), default=0)


class Constructor(NamedTuple):
    """How an optimizer is made from numbers.

    - `values`: the numbers, by name.
    - `make`: the optimizer with other numbers, which may be traced.
    - `code`: the Python that makes it: texts, and places of numbers.
    """

    values: dict[str, float]
    make: Callable[[Sequence[Any]], AbstractOptimizer]
    code: list[str | int]


def constructor_of(optimizer: AbstractOptimizer) -> Constructor:
    """The numbers from which an optimizer is made: its hyperparameters, or at least its time step.

    A wrapper is made from the numbers of the optimizer inside, and keeps what else its constructor
    takes. What is 0 stays so, because it says nothing of its scale.
    """
    if isinstance(optimizer, AbstractDerived):
        inner = constructor_of(optimizer.optimizer)
        wrapper: Any = type(optimizer)
        others = optimizer.hyperparameters()
        others.pop("optimizer", None)

        def wrap(numbers: Sequence[Any]) -> AbstractOptimizer:
            return wrapper(inner.make(numbers), **others)

        def rewrap(numbers: Sequence[Any]) -> AbstractOptimizer:
            return optimizer.rewrap(inner.make(numbers))

        before, _, after = repr(optimizer).partition(repr(optimizer.optimizer))
        return Constructor(
            inner.values,
            wrap if _makes(wrap, inner.values, optimizer) else rewrap,
            [f"dynopt.{before}", *inner.code, after],
        )
    kind, arguments = type(optimizer), optimizer.hyperparameters()
    values = {name: float(v) for name, v in arguments.items() if _is_number(v) and v > 0}
    others = {name: value for name, value in arguments.items() if name not in values}

    def make(numbers: Sequence[Any]) -> AbstractOptimizer:
        return kind(**others, **dict(zip(values, numbers, strict=True)))

    if arguments.keys() == hyperparameter_defaults(kind).keys() and _makes(make, values, optimizer):
        prefix = "dynopt." if kind in optimizers.color_numbers else ""
        texts = [f"{name}={value!r}" for name, value in others.items()]
        code: list[str | int] = [f"{prefix}{kind.__name__}({', '.join(texts)}"]
        for i, name in enumerate(values):
            code += [f"{', ' if i or texts else ''}{name}=", i]
        return Constructor(values, make, [*code, ")"])
    return Constructor(
        {"h": float(optimizer.h)},
        lambda numbers: optimizer.with_time_step(numbers[0]),
        ["optimizer.with_time_step(", 0, ")"],
    )


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and eqx.is_array_like(value) and np.shape(value) == ()


def _makes(make: Callable, values: dict[str, float], optimizer: AbstractOptimizer) -> bool:
    """Whether the constructor makes this very optimizer, from traced hyperparameters, too."""
    try:
        made = make(list(values.values()))
        jax.eval_shape(make, list(values.values()))
    except Exception:  # the constructor of a user may do anything
        return False
    pair = made.named(None), optimizer.named(None)
    return bool(eqx.tree_equal(*pair, typematch=False, rtol=1e-6, atol=1e-12))


def traced_optimizer(optimizer: AbstractOptimizer, name: str, problem: Problem) -> Part:
    """An optimizer in a web page, for positions like those of a problem of two coordinates.

    Its functions are `make`, which turns hyperparameters and a refinement n into the time step and
    the fields of the optimizer, `init`, `initFlow`, `step` and `field`, and, where there is a
    modified flow, `initModified` and `modified`. They take the gradient as an argument, so that one
    program serves all losses.

    **Raises:** `InvalidValue` for an optimizer that has no flow, or no translation.
    """
    constructor = constructor_of(optimizer)
    start = start_of(problem)
    x, t, n = jnp.zeros(DIM), jnp.asarray(0.0), jnp.asarray(1.0)
    numbers = tuple(jnp.asarray(value) for value in constructor.values.values())
    fitted = fit_to_start(constructor.make([*map(float, numbers)]), start, x.dtype)
    arrays, static = eqx.partition(fitted, eqx.is_inexact_array)
    fields, structure = jax.tree.flatten(arrays)

    def make(numbers, n):
        made = fit_to_start(constructor.make(numbers).refine(n), start, x.dtype)
        return (made.h, *jax.tree.leaves(eqx.filter(made, eqx.is_inexact_array)))

    def method(name: str, change: Callable = lambda optimizer: optimizer):
        def function(fields, *arguments):
            built = eqx.combine(jax.tree.unflatten(structure, fields), static)
            return getattr(change(built), name)(*arguments, opaque_gradient)

        return function

    def text(function: Callable, *arguments: Any) -> str:
        return to_javascript(trace(function, *arguments), "f")

    fields = tuple(fields)
    try:
        y = jax.eval_shape(method("init"), fields, x)
        functions = {
            "make": text(make, numbers, n),
            "init": text(method("init"), fields, x),
            "initFlow": text(method("init_flow"), fields, x),
            "step": text(method("step"), fields, t, y),
            "field": text(method("vector_field"), fields, t, y),
        }
    except DynoptError as error:
        raise InvalidValue(f"{optimizer!r} cannot be explored: {error}") from error
    with warnings.catch_warnings():  # that the map is not smooth is said where it is asked for
        warnings.simplefilter("ignore")
        try:
            functions |= {
                "initModified": text(method("init_flow", Modified), fields, x),
                "modified": text(method("vector_field", Modified), fields, t, y),
            }
        except DynoptError:
            pass  # then there is no such flow to show
    return Part(_description(optimizer, name, constructor, y), functions)


def start_of(problem: Problem, x0: Any = None) -> Any:
    """The start of a problem, or `x0`, in the precision of JavaScript."""
    return jax.tree.map(jnp.float64, problem.start(x0))


def start_in_a_plane(problem: Problem, x0: Any) -> Any:
    """The start as `start_of` gives it.

    **Raises:** `InvalidValue` for other than two coordinates; as `Problem.start` for a bad `x0`.
    """
    if problem.dim != DIM:
        raise InvalidValue(
            f"explore shows planes, but a position of {printable(problem.name)} has {problem.dim} "
            f"{'coordinate' if problem.dim == 1 else 'coordinates'}; pass a problem with two."
        )
    return start_of(problem, x0)


def must_suit_all(optimizer: AbstractOptimizer, given: Sequence[Problem]) -> None:
    """Refuse an optimizer that is another one for the positions of another problem.

    So it is where each leaf of a position, or each matrix, is treated by itself.

    **Raises:** `InvalidValue`.
    """
    first, *others = (fit_to_start(optimizer, start_of(p), jnp.float64) for p in given)
    for problem, fitted in zip(given[1:], others, strict=True):
        if not eqx.tree_equal(first, fitted):
            raise InvalidValue(
                f"{optimizer!r} treats each leaf of a position by itself, and those of "
                f"{printable(given[0].name)} and {printable(problem.name)} differ; explore one "
                "problem at a time."
            )


def must_follow_the_gradient(optimizer: AbstractOptimizer, problem: Problem) -> None:
    """Refuse an optimizer whose map is random, or needs gradients over parts of the data.

    The program of an optimizer asks for the gradient over all data. Without data, each part of the
    loss is the whole loss.

    **Raises:** `InvalidValue`.
    """
    start = start_of(problem)
    fitted = fit_to_start(optimizer, start, jnp.float64)
    if any(map(_is_random_key, jax.tree.leaves(fitted))):
        raise InvalidValue(
            f"{optimizer!r} draws random numbers, and the web page has none; pass an optimizer "
            "without noise, such as dynopt.SGD(0.1)."
        )
    x, _, grad = flatten_loss(problem.loss, start)
    if grad.part is None:
        return

    def part(x, i, k):
        raise InvalidValue(
            f"{optimizer!r} asks for gradients over parts of the data of "
            f"{printable(problem.name)}, and the web page has that over all data; pass an "
            "optimizer that uses all data in each step, such as dynopt.SGD(0.1)."
        )

    probe = BatchGradient(opaque_gradient, part, loss=grad.loss, examples=grad.examples)
    y = jax.eval_shape(lambda x: fitted.init(x, probe), x)
    jax.eval_shape(lambda t, y: fitted.step(t, y, probe), jnp.asarray(0.0), y)


def _is_random_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def must_suit_the_field(optimizer: AbstractOptimizer, problem: Problem) -> None:
    """Refuse an optimizer whose program would be wrong for a field that is no gradient.

    A gradient that is left open has a symmetric derivative. That of a field need not be symmetric,
    so a step that uses its transpose, as consensus optimization does, is compared with its program
    on a field that turns.

    **Raises:** `InvalidValue`.
    """
    if problem.conservative:
        return
    turn = jnp.array([[0.0, 1.0], [-1.0, 0.0]])
    derivatives = [lambda x: turn @ x, lambda x, v: turn @ v, lambda x, v, w: jnp.zeros_like(x)]
    x = jnp.array([0.3, -0.7])
    fitted = fit_to_start(optimizer, start_of(problem), x.dtype)
    t, y = fitted.h, jax.tree.map(lambda leaf: leaf + 0.1, fitted.init(x, derivatives[0]))
    lanes = jax.tree.map(lambda leaf: leaf[..., None], (t, y))
    for name in ("step", "vector_field"):
        method = getattr(fitted, name)
        program = trace(lambda t, y, method=method: method(t, y, opaque_gradient), t, y)
        found, expected = to_lanes(program, derivatives)(*lanes), method(t, y, derivatives[0])
        if not np.allclose(found.x[..., 0], expected.x):
            raise InvalidValue(
                f"{optimizer!r} uses the transposed derivative of the field, which is known for "
                f"losses only, but {printable(problem.name)} has a field that is no gradient; pass "
                "another optimizer, such as dynopt.Optimistic(0.1), or a loss."
            )


def _description(
    optimizer: AbstractOptimizer, name: str, constructor: Constructor, y: Any
) -> dict[str, Any]:
    lines = equations(type(optimizer))
    is_made = constructor.code[0] != "optimizer.with_time_step("
    return {
        "name": printable(name),
        "map": lines["map"].replace("`", "") or f"yₖ₊₁ = step of {printable(optimizer.name)}",
        "flow": lines["flow"] or "y′ = lim (step - identity)/h",
        "hyper": [
            {
                "name": name,
                "symbol": SYMBOLS.get(name, name),
                "kind": "rate" if name in DECAY_RATES and value < 1 else "positive",
                "slides": not name.startswith("eps"),
            }
            for name, value in constructor.values.items()
        ],
        "fields": [[field, int(leaf.size)] for field, leaf in _leaves(y)],
        "code": [printable(c) if isinstance(c, str) else c for c in constructor.code],
        "given": "" if is_made else printable(repr(optimizer)),
    }


def _leaves(y: Any) -> list[tuple[str, Any]]:
    return [(name, leaf) for name, leaf in zip(y._fields, y, strict=True) if hasattr(leaf, "size")]


def traced_problem(
    problem: Problem, start: Any, steps: int, values: Sequence[Sequence[float]], order: int = 1
) -> Part:
    """A problem in a web page: `loss`, the gradient `g0`, and its derivatives along vectors.

    These are `g1` and further ones up to the order.

    - `start`: from where the runs begin at first.
    - `steps`: how many steps are shown at first.
    - `values`: with which hyperparameters, for each optimizer.

    **Raises:** `InvalidValue` for a loss without translation.
    """
    x, loss, grad = flatten_loss(problem.loss, start)

    derivatives: list[Callable] = [grad]
    for _ in range(order):
        derivatives.append(_along_one_more(derivatives[-1]))
    try:
        functions = {"loss": to_javascript(trace(loss, x), "f")} | {
            f"g{k}": to_javascript(trace(derivative, *[x] * (k + 1)), "f")
            for k, derivative in enumerate(derivatives)
        }
    except DynoptError as error:
        raise InvalidValue(f"{printable(problem.name)} cannot be explored: {error}") from error
    coordinates = np.asarray(x).tolist()
    reach = 1 + float(np.abs(coordinates).max())
    minimizers = [] if problem.minimizers is None else np.asarray(problem.minimizers).tolist()
    make = problems.catalogue.get(problem.name) or problems.games.get(problem.name)
    return Part(
        {
            "name": printable(problem.name),
            "x0": coordinates,
            "window": problem.window or [[c - reach, c + reach] for c in coordinates],
            "minimum": problem.minimum,
            "minimizers": minimizers,
            "steps": steps,
            "hyper": [list(numbers) for numbers in values],
            "code": f"problems.{problem.name}()" if make else "...",
            "startCode": start_code(problem.x0),
        },
        functions,
    )


def _along_one_more(derivative: Callable) -> Callable:
    """The derivative, along one more vector, of a derivative along vectors."""
    return lambda x, *vectors: jax.jvp(
        lambda x: derivative(x, *vectors[:-1]), (x,), (vectors[-1],)
    )[1]


def start_code(x0: Any) -> list[str | int]:
    """The Python of a position, as texts and the places of its coordinates.

    >>> start_code({"a": np.array(1.0), "b": np.array([2.0])})
    ["{'a': ", 0, ", 'b': [", 1, ']}']
    """
    leaves, structure = jax.tree.flatten(x0)
    ends = np.cumsum([np.size(leaf) for leaf in leaves])
    places = [
        np.arange(end - np.size(leaf), end).reshape(np.shape(leaf)).tolist()
        for leaf, end in zip(leaves, ends, strict=True)
    ]
    marked = jax.tree.unflatten(structure, [jax.tree.map(_Place, place) for place in places])
    parts = re.split(r"<coordinate (\d+)>", repr(marked))
    return [int(part) if i % 2 else part for i, part in enumerate(parts)]


class _Place(int):
    def __repr__(self) -> str:
        return f"<coordinate {int(self)}>"
