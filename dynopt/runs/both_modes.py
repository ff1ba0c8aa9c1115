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
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import PyTree

Function = Callable[..., list[Any]]  # from arrays to a list of arrays


def in_both_modes(forward: Callable, pull_back: Callable, *arguments: PyTree) -> PyTree:
    """`forward(*arguments)`, a PyTree of arrays, with derivatives in both modes.

    The derivatives have forward derivatives again. A reverse derivative of a derivative raises
    JAX's error for loops.

    - `forward`: differentiable in forward mode.
    - `pull_back`: called as `pull_back(varied, fixed, cotangents)`. The arguments are `varied` and
      `fixed` combined, each with None where the other has an array, and the cotangents are those of
      the outputs, None for whole numbers. It returns the cotangents of `varied`.
    - `arguments`: all that the functions depend on; they may close over no traced value.
    """
    arrays, static = eqx.partition(arguments, eqx.is_array)
    leaves, structure = jax.tree.flatten(arrays)

    @jax.jit  # so that it is traced once
    def call(*leaves):
        return forward(*eqx.combine(jax.tree.unflatten(structure, leaves), static))

    shapes, result = jax.tree.flatten(jax.eval_shape(call, *leaves))

    def pull(which, leaves, cotangents):
        varied = [leaf if i in which else None for i, leaf in enumerate(leaves)]
        fixed = [None if i in which else leaf for i, leaf in enumerate(leaves)]
        fixed = eqx.combine(jax.tree.unflatten(structure, fixed), static)
        of_real = iter(cotangents)
        of_outputs = [
            next(of_real) if eqx.is_inexact_array(s) else None for s in map(jnp.empty_like, shapes)
        ]
        pulled = pull_back(
            jax.tree.unflatten(structure, varied), fixed, jax.tree.unflatten(result, of_outputs)
        )
        return jax.tree.leaves(pulled)

    return jax.tree.unflatten(result, function_p.bind(*leaves, functions=(call, pull)))


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
    pulled = functions[1](which, primals, list(map(ad.instantiate_zeros, cotangents)))
    return [None] * len(primals) + pulled


def _batch(primitive: Primitive, leaves, axes, *, functions, **more):
    which = more.get("which", ())
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
    call, pull = functions

    def pull_all(which, leaves, cotangents):
        pulled = jax.vmap(partial(pull, which), (in_axes, 0))(tuple(leaves), cotangents)
        return [v if batched[i] else v.sum(0) for i, v in zip(which, pulled, strict=True)]

    functions = jax.jit(jax.vmap(call, in_axes)), pull_all
    outputs = primitive.bind(*leaves, functions=functions, **more)
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
