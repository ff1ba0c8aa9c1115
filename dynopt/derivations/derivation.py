"""How the flow of an optax family is derived, or why there is none and what was seen to help."""

from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from itertools import product
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.extend.core import ClosedJaxpr, Literal, Var
from jaxtyping import PyTree

from ..checks import Scalar
from ..errors import DynoptError
from .limit import Limit, clause, detect_limit, is_standing_still
from .transformation import Transformation


class Derivation:
    """The limit of a family as it was made, measured when it is first asked for.

    Equal derivations have equal limits, so that optimizers of one kind share their compiled code.

    - `transformation`, `h`: the family and its time step, both with known values.
    """

    def __init__(self, transformation: Transformation, h: Scalar):
        self.transformation, self.h = transformation, float(h)
        self._of_leaves: dict[Any, Derivation] = {}

    @cached_property
    def limit(self) -> Limit:
        return detect_limit(self.transformation, self.h)[0]

    def of_leaves(self, x0: PyTree) -> "Derivation":
        """The derivation of the same family at positions with the leaves of `x0`."""
        leaves, structure = jax.tree.flatten(x0)
        key = structure, tuple(map(np.shape, leaves))
        if key not in self._of_leaves:
            like = jax.tree.map(lambda leaf: np.zeros(np.shape(leaf)), x0)
            family, scale = self.transformation.family, dict(self.transformation.scale)
            self._of_leaves[key] = Derivation(Transformation(family, self.h, scale, like), self.h)
        return self._of_leaves[key]

    def fault(self, memoryless: Callable[[Transformation, float], Any]) -> str:
        """A sentence that says why there is no flow and what was seen to help; "" if there is one.

        - `memoryless`: the optimizer without memory that is made of a family; it may raise.
        """
        if not (self.limit.faults or self.limit.obstacle):
            return ""
        if not hasattr(self, "_fault"):
            self._fault = self._sentence(memoryless)
        return self._fault

    def _sentence(self, memoryless: Callable[[Transformation, float], Any]) -> str:
        name = self.transformation.name_in_sentence
        if self.limit.obstacle:
            return self.limit.obstacle
        causes = [clause(self.transformation, *fault) for fault in self.limit.faults]
        remedies = []
        with suppress(DynoptError):
            remedies = adjustments(self.transformation, self.h, self.limit)
        if "forgets" in dict(self.limit.faults):
            with suppress(DynoptError):
                memoryless(self.transformation, self.h)
                remedies.append("wrap the optimizer in dynopt.Memoryless")
        what_helps = ", or ".join(remedies) or "use dynopt.iterate, which runs its map all the same"
        return f"{name} has no flow: {'; '.join(causes)}; {what_helps}."

    def __eq__(self, other: object) -> bool:
        if self is other or not isinstance(other, Derivation):
            return self is other
        same_layout = self.transformation.layout == other.transformation.layout
        return same_layout and self.limit == other.limit

    def __hash__(self) -> int:
        return hash(self.transformation.layout)


class Adjusted(eqx.Module):
    """A family with other powers of h in it.

    With r = h/h₀, where h₀ is the time step of the family as it was made, one step

    - takes each number d of `decays` that is written in the update as 1 - (1 - d) rᵃ, and 1 - d as
      (1 - d) rᵃ, where a = `fading`: with a = 1 these decays are 1 - h/tau;
    - reads each count k as k rᵃ, where a is its number in `counters`: with a = 1 a schedule is read
      in time;
    - divides each leaf by hᵃ between the steps, where a is its number in `scales`;
    - multiplies the updates by hᵃ, where a = `power`.
    """

    family: Callable[[Any], Any]
    h0: Any
    fading: Any
    counters: tuple[Any, ...]
    scales: tuple[Any, ...]
    power: Any
    decays: tuple[float, ...] = eqx.field(static=True)
    roles: tuple[str, ...] = eqx.field(static=True)

    def __call__(self, h: Any) -> optax.GradientTransformation:
        inner, r = optax.with_extra_args_support(self.family(h)), h / self.h0

        def divide(state, sign):
            leaves, structure = jax.tree.flatten(state)
            scaled = [
                leaf / h ** (sign * a) if role == "memory" else leaf
                for leaf, a, role in zip(leaves, self.scales, self.roles, strict=True)
            ]
            return jax.tree.unflatten(structure, scaled)

        def replaced(literal):
            if jnp.ndim(literal) == 0 and jnp.issubdtype(jnp.result_type(literal), jnp.floating):
                for d in self.decays:
                    if abs(literal - d) < CLOSE * d:
                        return 1 - (1 - d) * r**self.fading
                    if abs(literal - (1 - d)) < CLOSE * (1 - d):
                        return (1 - d) * r**self.fading
            return literal

        def init(params):
            return divide(inner.init(params), 1)

        def update(updates, state, params=None, **extra):
            before, structure = jax.tree.flatten(divide(state, -1))
            inputs = [
                leaf * r**a if role == "counter" else leaf
                for leaf, a, role in zip(before, self.counters, self.roles, strict=True)
            ]

            def flat_update(g, leaves, x):
                return inner.update(g, jax.tree.unflatten(structure, leaves), x, **extra)

            updates, new_state = with_literals(flat_update, replaced)(updates, inputs, params)
            after = [
                old + 1 if role == "counter" else new
                for old, new, role in zip(
                    before, jax.tree.leaves(new_state), self.roles, strict=True
                )
            ]
            updates = jax.tree.map(lambda u: u * h**self.power, updates)
            return updates, divide(jax.tree.unflatten(structure, after), 1)

        return optax.GradientTransformationExtraArgs(init, update)


CLOSE = 1e-9  # relative difference of two decays that are the same number
POWERS = (0.0, -0.5, 0.5, -1.0, 1.0)  # of h, by which the updates may be multiplied


def adjustments(transformation: Transformation, h: float, limit: Limit) -> list[str]:
    """The simplest change of a family that was seen to give it a flow, in words; [] if none was."""
    faults, layout = dict(limit.faults), transformation.layout
    measured = detect_limit(transformation, h)[1]
    forgetting, growing = faults.get("forgets", ()), faults.get("grows", ())
    if measured is None or not all(measured.is_fading[name] for name in forgetting):
        return []
    if "jumps" in faults or "not finite" in faults:
        return []
    decays = tuple(sorted({float(measured.long_decay[name]) for name in forgetting}))
    scales = [dict.fromkeys(growing, -1)] if growing else [{}]
    if len(forgetting) == 1:
        scales.append(dict.fromkeys((*growing, *forgetting), -1))
    is_counter = [leaf.role == "counter" for leaf in layout.leaves]
    counters = [{}]
    if measured.has_schedule:
        counters += [{i: 1} for i in range(len(is_counter)) if is_counter[i]]

    def adjusted(power, scale, counter, fading):
        return Adjusted(
            family=transformation.family,
            h0=h,
            fading=float(fading),
            counters=tuple(float(counter.get(i, 0)) for i in range(len(is_counter))),
            scales=tuple(float(scale.get(leaf.name, 0)) for leaf in layout.leaves),
            power=power,
            decays=decays,
            roles=tuple(leaf.role for leaf in layout.leaves),
        )

    shape = Transformation(adjusted(0.0, {}, {}, False), h, like=transformation.like)
    choices = list(product(POWERS, scales, counters, [bool(decays)]))
    for choice in sorted(choices, key=lambda choice: sum(map(bool, choice))):
        trial = eqx.tree_at(lambda t: t.family, shape, adjusted(*choice))
        found, numbers = detect_limit(trial, h)
        if not (found.faults or found.obstacle or numbers is None or is_standing_still(numbers)):
            return [_in_words(*choice, num_decays=len(forgetting))]
    return []


def _in_words(
    power: float, scale: dict[str, int], counter: dict[int, int], fading: bool, num_decays: int
) -> str:
    parts = []
    if fading:
        parts.append(f"make {'its' if num_decays == 1 else 'their'} decay 1 - h/tau")
    if counter:
        parts.append("write schedules in the time k*h, not in the count k, as dynopt.Schedule does")
    if power:
        factor = "h" if power == 1 else f"h**{power:g}"
        parts.append(f"multiply the updates as in optax.chain(family(h), optax.scale({factor}))")
    if scale:
        powers = ", ".join(f"{name!r}: {p:g}" for name, p in scale.items())
        pronoun = "its" if len(scale) == 1 else "their"
        parts.append(f"declare {pronoun} power of h, scale={{{powers}}}")
    return " and ".join(parts)


def with_literals(function: Callable, replaced: Callable[[Any], Any]) -> Callable:
    """The function with other numbers in place of those that are written in its program."""

    def changed(*arguments):
        program, result = jax.make_jaxpr(function, return_shape=True)(*arguments)
        outputs = _evaluate(program, jax.tree.leaves(arguments), replaced)
        return jax.tree.unflatten(jax.tree.structure(result), outputs)

    return changed


def _evaluate(program: ClosedJaxpr, arguments: list[Any], replaced: Callable) -> list[Any]:
    jaxpr = program.jaxpr
    values: dict[Var, Any] = dict(zip(jaxpr.constvars, program.consts, strict=True))
    values |= dict(zip(jaxpr.invars, arguments, strict=True))

    def value(variable):
        if not isinstance(variable, Literal):
            return values[variable]
        return jnp.asarray(replaced(variable.val), jnp.result_type(variable.val))

    for equation in jaxpr.eqns:
        inputs = [value(variable) for variable in equation.invars]
        if equation.primitive.name == "jit":
            outputs = _evaluate(equation.params["jaxpr"], inputs, replaced)
        else:
            params = equation.primitive.get_bind_params(equation.params)
            outputs = equation.primitive.bind(*inputs, **params)
            outputs = outputs if equation.primitive.multiple_results else [outputs]
        values |= dict(zip(equation.outvars, outputs, strict=True))
    return [value(variable) for variable in jaxpr.outvars]
