"""A function that JAX differentiates in forward mode and in reverse mode, made from two programs.

A loop whose number of steps is known only at its end is differentiable in one mode at a time: in
forward mode as it stands, in reverse mode if it keeps checkpoints. JAX asks for one of the modes
after the loop has been traced, so the choice is made here, by the rules of two primitives.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import equinox as eqx
import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import PyTree

Function = Callable[..., list[Any]]  # from arrays to a list of arrays


def in_both_modes(forward: Callable, reverse: Callable, *arguments: PyTree) -> PyTree:
    """`forward(*arguments)`, a PyTree of arrays.

    It has derivatives in both modes, and forward derivatives of either. A reverse derivative of a
    derivative raises JAX's error for loops.

    - `forward`: differentiable in forward mode. It alone runs if no reverse derivative is asked.
    - `reverse`: the same function, differentiable in reverse mode; it is traced only for that.
    - `arguments`: all that the functions depend on; they may close over no traced value.
    """
    arrays, static = eqx.partition(arguments, eqx.is_array)
    leaves, structure = jax.tree.flatten(arrays)

    def of_leaves(function: Callable) -> Callable:
        def call(*leaves):
            return function(*eqx.combine(jax.tree.unflatten(structure, leaves), static))

        return jax.jit(call)  # a compiled function is traced once

    functions = of_leaves(forward), of_leaves(reverse)
    outputs = function_p.bind(*leaves, functions=functions)
    return jax.tree.unflatten(jax.tree.structure(jax.eval_shape(functions[0], *leaves)), outputs)


def _call(*leaves, functions: tuple[Callable, Callable]) -> list[Any]:
    return jax.tree.leaves(functions[0](*leaves))


def _tangent(*leaves, functions: tuple[Callable, Callable], which: tuple[int, ...]) -> list[Any]:
    """The tangents of the real outputs; the last leaves are those of the inputs `which`."""
    primals, tangents = leaves[: -len(which)], leaves[-len(which) :]
    of_some, some = _function_of_some(functions[0], primals, which)
    return jax.jvp(of_some, some, tangents)[1]


def _function_of_some(function: Callable, leaves: Sequence[Any], which: tuple[int, ...]):
    """The real outputs as a function of the inputs `which` alone, and these inputs."""

    def of_some(*some):
        varied = dict(zip(which, some, strict=True))
        outputs = function(*(varied.get(i, leaf) for i, leaf in enumerate(leaves)))
        return list(filter(eqx.is_inexact_array, jax.tree.leaves(outputs)))

    return of_some, tuple(leaves[i] for i in which)


def _nonzero(tangents: Sequence[Any]) -> tuple[int, ...]:
    return tuple(i for i, tangent in enumerate(tangents) if type(tangent) is not ad.Zero)


def _jvp(primals, tangents, *, functions):
    which = _nonzero(tangents)
    directions = (tangents[i] for i in which)
    outputs = function_p.bind(*primals, functions=functions)
    of_real = iter(tangent_p.bind(*primals, *directions, functions=functions, which=which))
    is_real = map(eqx.is_inexact_array, outputs)
    return outputs, [
        next(of_real) if real else ad.Zero(jax.typeof(output).to_tangent_aval())
        for output, real in zip(outputs, is_real, strict=True)
    ]


def _jvp_of_tangent(leaves, directions, *, functions, which):
    """The tangent map is linear in its tangents; the rest is forward mode twice."""
    n = len(leaves) - len(which)
    bind = partial(tangent_p.bind, functions=functions, which=which)
    terms = []
    if _nonzero(directions[n:]):
        terms.append(bind(*leaves[:n], *map(ad.instantiate_zeros, directions[n:])))
    if varied := _nonzero(directions[:n]):
        twice = partial(_tangent, functions=functions, which=which)
        of_some, some = _function_of_some(twice, leaves, varied)
        terms.append(jax.jvp(of_some, some, tuple(directions[i] for i in varied))[1])
    return bind(*leaves), [sum(term[1:], term[0]) for term in zip(*terms, strict=True)]


def _transpose(cotangents, *leaves, functions, which):
    primals = leaves[: -len(which)]
    of_some, some = _function_of_some(functions[1], primals, which)
    _, pull = jax.vjp(of_some, *some)
    return [None] * len(primals) + list(pull(list(map(ad.instantiate_zeros, cotangents))))


def _batch(primitive: Primitive, leaves, axes, *, functions, which=()):
    n = len(leaves) - len(which)
    size = next(v.shape[axis] for v, axis in zip(leaves, axes, strict=True) if axis is not None)
    batched = [axis is not None for axis in axes]
    for j, i in enumerate(which):  # an input and its tangent are batched together
        batched[i] = batched[n + j] = batched[i] or batched[n + j]
    leaves = [
        batching.bdim_at_front(leaf, axis, size) if is_batch else leaf
        for leaf, axis, is_batch in zip(leaves, axes, batched, strict=True)
    ]
    in_axes = tuple(0 if is_batch else None for is_batch in batched[:n])
    functions = tuple(jax.jit(jax.vmap(function, in_axes)) for function in functions)
    outputs = primitive.bind(*leaves, functions=functions, **({"which": which} if which else {}))
    return outputs, [0] * len(outputs)


def _make_primitive(name: str, call: Callable, jvp: Callable) -> Primitive:
    primitive = Primitive(name)
    primitive.multiple_results = True
    primitive.def_impl(call)
    primitive.def_abstract_eval(
        lambda *leaves, **more: [
            jax.typeof(shape) for shape in jax.eval_shape(partial(call, **more), *leaves)
        ]
    )
    ad.primitive_jvps[primitive] = jvp
    batching.primitive_batchers[primitive] = partial(_batch, primitive)
    mlir.register_lowering(primitive, mlir.lower_fun(call, multiple_results=True))
    return primitive


function_p = _make_primitive("function_in_both_modes", _call, _jvp)
tangent_p = _make_primitive("tangent_in_both_modes", _tangent, _jvp_of_tangent)
ad.primitive_transposes[tangent_p] = _transpose
