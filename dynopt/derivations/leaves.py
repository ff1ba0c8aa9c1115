"""What each leaf of an optax state is for, read off the program of one update."""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.extend.core import ClosedJaxpr, Jaxpr, Var
from jaxtyping import PyTree

from ..checks import number
from ..errors import InvalidType, InvalidValue, unknown_name

NONSMOOTH = {
    "sign", "abs", "max", "min", "clamp", "floor", "ceil", "round", "rem",
    "lt", "le", "gt", "ge", "reduce_max", "reduce_min", "argmax", "argmin",
    "cummax", "cummin", "sort", "top_k",
}  # fmt: skip


class Leaf(NamedTuple):
    """One leaf of the state.

    - `name`: the name of its field in phase space.
    - `path`: its place in the state of optax.
    - `role`: "memory", a coordinate of phase space; "counter", the number of steps, which is t/h;
      "flag", a boolean or a whole number that is set by the first step and stays; "constant",
      whatever happens (injected hyperparameters); or "unused", if the position never depends on it.
    - `power`: the leaf is h^power times its field.
    """

    name: str
    path: str
    role: str
    power: float


class StateLayout(NamedTuple):
    """The leaves of a state, and what one update does with them.

    - `nonsmooth`: the nonsmooth operations between them and the next position.
    - `extra`: what the update is given besides the gradient, the state and the position.
    - `needs_loss`: whether it cannot do without the loss.
    """

    leaves: tuple[Leaf, ...]
    nonsmooth: tuple[str, ...]
    extra: tuple[str, ...] = ()
    needs_loss: bool = False

    @property
    def memories(self) -> tuple[Leaf, ...]:
        return tuple(leaf for leaf in self.leaves if leaf.role == "memory")

    @property
    def has_counter(self) -> bool:
        return any(leaf.role == "counter" for leaf in self.leaves)

    @property
    def has_powers(self) -> bool:
        return any(leaf.power for leaf in self.memories)


def state_layout(transform: Any, x: PyTree, scale: Mapping[str, float | int]) -> StateLayout:
    """Trace one update of `transform` at the position `x`, without running it.

    **Raises:** `InvalidType` if `transform` is no optax transformation that needs only gradients,
    state and parameters; `UnknownName` if `scale` names no leaf.
    """
    if not (hasattr(transform, "init") and hasattr(transform, "update")):
        raise InvalidType(
            f"`family(h)` must be an optax.GradientTransformation, got {transform!r}; return "
            "optax.sgd(h)."
        )
    try:
        state = transform.init(x)
    except Exception as error:
        raise InvalidType(
            f"`family(h)` cannot be initialised at such a position ({first_line(error)}); for "
            "masks and labels pass the problem's own start as `like`."
        ) from error
    _must_take_steps_of_its_own(state)
    values, structure = jax.tree.flatten(state)
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(state)]
    transform = optax.with_extra_args_support(transform)

    def update(values, x, extra):
        arguments = {
            "value": _half_square(x),
            "grad": x,
            "value_fn": _half_square,
            "grad_fn": lambda x, *_: x,
        }
        state = jax.tree.unflatten(structure, values)
        given = {name: arguments[name] for name in extra}
        updates, state = transform.update(x, state, x, **given)
        return jax.tree.leaves(updates), jax.tree.leaves(state)

    def is_enough(extra):
        try:
            jax.eval_shape(partial(update, extra=extra), values, x)
        except Exception:
            return False
        return True

    extra = next(filter(is_enough, EXTRA_CHOICES), EXTRA_CHOICES[0])
    try:
        program = jax.make_jaxpr(partial(update, extra=extra))(values, x).jaxpr
    except Exception as error:
        raise InvalidType(
            "`family(h)` cannot be updated by the gradient, the state, the parameters and the loss "
            f"({first_line(error)}); use a transformation that needs nothing else, or for matrices "
            "pass the problem's own start as `like`."
        ) from error
    num_updates = len(program.outvars) - len(values)
    used, nonsmooth = _outputs_in_use(program, num_updates)

    start = jax.make_jaxpr(lambda x: jax.tree.leaves(transform.init(x)))(x).jaxpr
    roles = []
    for i, value in enumerate(values):
        inputs, _ = _inputs_reaching(program, {num_updates + i})
        if num_updates + i not in used:
            roles.append("unused")
        elif (
            program.outvars[num_updates + i] is program.invars[i]
            and not (_inputs_reaching(start, {i})[0])
        ):
            roles.append("constant")
        elif jnp.issubdtype(value.dtype, jnp.floating):
            roles.append("memory")
        else:
            roles.append(_discrete_role(value.dtype, inputs == {i}, not inputs, paths[i]))
    names = _field_names(paths)
    memories = [name for name, role in zip(names, roles, strict=True) if role == "memory"]
    for key in scale:
        if not any(is_or_lies_in(name, key) for name in memories):
            raise unknown_name("state leaf", key, memories)
    exponents = {key: float(number(f"scale[{key!r}]", power)) for key, power in scale.items()}
    powers = [
        next((power for key, power in exponents.items() if is_or_lies_in(name, key)), 0.0)
        for name in names
    ]
    texts = [jax.tree_util.keystr(path) for path in paths]
    leaves = tuple(Leaf(*columns) for columns in zip(names, texts, roles, powers, strict=True))
    without_loss = tuple(name for name in extra if name in ("grad", "grad_fn"))
    return StateLayout(leaves, tuple(sorted(nonsmooth)), extra, not is_enough(without_loss))


def _outputs_in_use(program: Jaxpr, num_updates: int) -> tuple[set[int], set[str]]:
    """The outputs of one update on which the position depends now or in later steps.

    The first `num_updates` outputs are the updates, the others are the leaves of the state, which
    are the first inputs of the next step. The nonsmooth operations on the way come second.
    """
    num_leaves = len(program.outvars) - num_updates
    used = set(range(num_updates))
    while True:
        inputs, nonsmooth = _inputs_reaching(program, used)
        more = used | {num_updates + i for i in inputs if i < num_leaves}
        if more == used:
            return used, nonsmooth
        used = more


def _discrete_role(dtype: Any, feeds_itself: bool, is_set: bool, path: Any) -> str:
    """The role of a leaf that is no real number.

    - `feeds_itself`: whether its next value depends on itself and on nothing else.
    - `is_set`: whether its next value depends on nothing.

    **Raises:** `InvalidValue` if it is none that depends on the number of steps alone.
    """
    place = jax.tree_util.keystr(path)
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
        raise InvalidValue(
            f"the state leaf `{place}` is a random key, and a random update follows no "
            "differential equation; use the transformation without its noise."
        )
    if is_set:
        return "flag"
    if jnp.issubdtype(dtype, jnp.integer) and feeds_itself:
        return "counter"
    raise InvalidValue(
        f"the state leaf `{place}` is no real number and depends on more than the number of steps, "
        "so it is no coordinate of phase space; use a transformation whose whole numbers count "
        "steps."
    )


# What every optax.GradientTransformationExtraArgs is given; a few ask for more or refuse it.
EXTRA_CHOICES = (
    ("value", "grad", "value_fn"),
    ("value", "grad", "value_fn", "grad_fn"),
    ("grad_fn",),
    (),
)


def _half_square(x: PyTree) -> Any:
    return sum(jnp.vdot(leaf, leaf) for leaf in jax.tree.leaves(x)) / 2


OTHER_STEPS = {
    optax.MultiStepsState: (
        "optax.MultiSteps moves in every k-th update only",
        "wrap the optimizer inside it, dynopt.Accumulated(dynopt.Optax(family, h), k)",
    ),
    optax.LookaheadState: (
        "optax.lookahead moves two positions, and a problem has one",
        "use its fast optimizer alone",
    ),
}


def _must_take_steps_of_its_own(state: Any) -> None:
    """**Raises:** `InvalidType` if a state belongs to a transformation known to have no step."""
    for kind, (fault, remedy) in OTHER_STEPS.items():
        nodes = jax.tree.leaves(state, is_leaf=lambda node, kind=kind: isinstance(node, kind))
        if any(isinstance(node, kind) for node in nodes):
            raise InvalidType(f"{fault}; {remedy}.")


def _inputs_reaching(program: Jaxpr, outputs: set[int]) -> tuple[set[int], set[str]]:
    """The inputs on which these outputs depend, and the nonsmooth operations between them."""
    live: set[Any] = {
        variable
        for i, variable in enumerate(program.outvars)
        if i in outputs and isinstance(variable, Var)
    }
    nonsmooth: set[str] = set()
    for equation in reversed(program.eqns):
        live_outputs = {i for i, variable in enumerate(equation.outvars) if variable in live}
        if not live_outputs:
            continue
        name, inputs = equation.primitive.name, set(range(len(equation.invars)))
        for inner in _inner_programs(equation):
            all_outputs = set(range(len(inner.outvars)))
            needed, inner_nonsmooth = _inputs_reaching(
                inner, live_outputs if name == "jit" else all_outputs
            )
            inputs = needed if name == "jit" else inputs
            nonsmooth |= inner_nonsmooth
        if name in NONSMOOTH and any(_is_float(variable) for variable in equation.invars):
            nonsmooth.add(name)
        live |= {
            variable
            for i, variable in enumerate(equation.invars)
            if i in inputs and isinstance(variable, Var)
        }
    return {i for i, variable in enumerate(program.invars) if variable in live}, nonsmooth


def _inner_programs(equation: Any) -> list[Jaxpr]:
    """The programs that one operation runs: of `jit`, custom derivatives, loops and branches."""
    leaves = jax.tree.leaves(
        list(equation.params.values()), is_leaf=lambda p: isinstance(p, ClosedJaxpr | Jaxpr)
    )
    return [
        p.jaxpr if isinstance(p, ClosedJaxpr) else p
        for p in leaves
        if isinstance(p, ClosedJaxpr | Jaxpr)
    ]


def _is_float(variable: Any) -> bool:
    return jnp.issubdtype(variable.aval.dtype, jnp.floating)


def _field_names(paths: list[Any]) -> list[str]:
    """The end of each path from its last attribute on, as distinct identifiers: mu, mu_w, nu_2."""
    names: list[str] = []
    for path in paths:
        last = max((i for i, key in enumerate(path) if hasattr(key, "name")), default=0)
        words = [
            str(getattr(key, "name", getattr(key, "key", getattr(key, "idx", ""))))
            for key in path[last:]
        ]
        name = re.sub(r"\W+", "_", "_".join(words)).strip("_") or "leaf"
        name = f"leaf_{name}" if name[0].isdigit() or name == "x" else name
        n = sum(
            other == name or re.fullmatch(re.escape(name) + r"_\d+", other) is not None
            for other in names
        )
        names.append(f"{name}_{n + 1}" if n else name)
    return names


def is_or_lies_in(name: str, key: str) -> bool:
    """Whether a field is the leaf `key`, or one of several leaves under this key."""
    return name == key or name.startswith(f"{key}_")


def first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
