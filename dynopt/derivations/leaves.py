"""What the leaves of an optax state are for, read off the program of one update."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Var
from jaxtyping import PyTree

from ..checks import number
from ..errors import InvalidType, InvalidValue, unknown_name

KINKED = {"sign", "abs", "max", "min", "clamp", "floor", "ceil", "round", "lt", "le", "gt", "ge"} | {
    "reduce_max", "reduce_min", "argmax", "argmin", "cummax", "cummin", "sort", "top_k", "rem"
}  # fmt: skip


class Leaf(NamedTuple):
    """One leaf of the state.

    - `name`: of its field in phase space; `path`: where optax keeps it.
    - `role`: "memory", a coordinate of phase space; "count", the number of steps, which is t/h; "given", the same
      whatever happens (injected hyperparameters); "unfelt", which the position never depends on.
    - `power`: the leaf is h^power times its field.
    """

    name: str
    path: str
    role: str
    power: float


class Reading(NamedTuple):
    """All leaves, and which operations with a kink lie between them and the next position."""

    leaves: tuple[Leaf, ...]
    kinks: tuple[str, ...]

    @property
    def memories(self) -> tuple[Leaf, ...]:
        return tuple(leaf for leaf in self.leaves if leaf.role == "memory")

    @property
    def counts(self) -> bool:
        return any(leaf.role == "count" for leaf in self.leaves)

    @property
    def scaled(self) -> bool:
        return any(leaf.power for leaf in self.memories)


def read(transform: Any, x: PyTree, scale: Mapping[str, float | int]) -> Reading:
    """Trace one update of `transform` at the position `x`, without running it.

    **Raises:** `InvalidType` if it is no optax transformation that needs only gradients, state and parameters;
    `UnknownName` if `scale` names no leaf.
    """
    if not (hasattr(transform, "init") and hasattr(transform, "update")):
        raise InvalidType(
            f"`family(h)` must be an optax.GradientTransformation, got {transform!r}; return optax.sgd(h)."
        )
    try:
        state = transform.init(x)
    except (TypeError, ValueError, AttributeError) as error:
        raise InvalidType(
            f"`family(h)` cannot be initialised at such a position ({_first_line(error)}); for masks and labels "
            "pass the problem's own start as `like`."
        ) from error
    values, structure = jax.tree.flatten(state)
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(state)]

    def update(values, x):
        updates, after = transform.update(x, jax.tree.unflatten(structure, values), x)
        return jax.tree.leaves(updates), jax.tree.leaves(after)

    try:
        program = jax.make_jaxpr(update)(values, x).jaxpr
    except (TypeError, ValueError, AttributeError) as error:
        raise InvalidType(
            f"`family(h)` cannot be updated by gradients, state and parameters alone ({_first_line(error)}); "
            "use a transformation that needs nothing else."
        ) from error
    moves = len(program.outvars) - len(values)
    felt = set(range(moves))
    while (
        more := felt | {moves + i for i in _feeding(program, felt)[0] if i < len(values)}
    ) != felt:
        felt = more
    kinks = _feeding(program, felt)[1]

    start = jax.make_jaxpr(lambda x: jax.tree.leaves(transform.init(x)))(x).jaxpr
    roles = []
    for i, value in enumerate(values):
        if moves + i not in felt:
            roles.append("unfelt")
        elif program.outvars[moves + i] is program.invars[i] and not _feeding(start, {i})[0]:
            roles.append("given")
        else:
            roles.append(_felt_role(value.dtype, jax.tree_util.keystr(paths[i])))
    names = _names(paths)
    memories = [name for name, role in zip(names, roles, strict=True) if role == "memory"]
    for key in scale:
        if not any(_is_or_lies_in(name, key) for name in memories):
            raise unknown_name("state leaf", key, memories)
    exponents = {key: float(number(f"scale[{key!r}]", power)) for key, power in scale.items()}
    powers = [
        next((p for key, p in exponents.items() if _is_or_lies_in(name, key)), 0.0)
        for name in names
    ]
    spelt = [jax.tree_util.keystr(path) for path in paths]
    leaves = tuple(Leaf(*each) for each in zip(names, spelt, roles, powers, strict=True))
    return Reading(leaves, tuple(sorted(kinks)))


def _felt_role(dtype: Any, path: str) -> str:
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
        raise InvalidValue(
            f"the state leaf `{path}` is a random key, and a random update follows no differential equation; use the "
            "transformation without its noise."
        )
    return "memory" if jnp.issubdtype(dtype, jnp.floating) else "count"


def _feeding(program: Jaxpr, wanted: set[int]) -> tuple[set[int], set[str]]:
    """Which inputs of a program reach the wanted outputs, and through which kinks."""
    live: set[Any] = {
        v for i, v in enumerate(program.outvars) if i in wanted and isinstance(v, Var)
    }
    kinks: set[str] = set()
    for equation in reversed(program.eqns):
        outputs = {i for i, v in enumerate(equation.outvars) if v in live}
        if not outputs:
            continue
        name, used = equation.primitive.name, set(range(len(equation.invars)))
        for inside in _programs_in(equation):
            found = _feeding(inside, outputs if name == "jit" else set(range(len(inside.outvars))))
            used = found[0] if name == "jit" else used
            kinks |= found[1]
        if name in KINKED and any(_is_float(v) for v in equation.invars):
            kinks.add(name)
        live |= {v for i, v in enumerate(equation.invars) if i in used and isinstance(v, Var)}
    return {i for i, v in enumerate(program.invars) if v in live}, kinks


def _programs_in(equation: Any) -> list[Jaxpr]:
    """The programs that one operation runs: of `jit` its own, of a custom derivative, a loop or a branch theirs."""
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


def _names(paths: list[Any]) -> list[str]:
    """The last attribute of each path and what follows it, made identifiers that differ: mu, nu, trace, mu_w, nu_2."""
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


def _is_or_lies_in(name: str, key: str) -> bool:
    return name == key or name.startswith(f"{key}_")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
