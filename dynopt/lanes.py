"""Many runs as one compiled program: runs lie side by side in lanes, lanes in blocks, blocks on devices.

A lane is the last axis of every array. A block is as many runs as the cache of a core holds through all their steps; a
device takes its blocks one after another, and devices share them evenly and never wait for one another.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from .optimizers import AbstractOptimizer
from .trajectories import Status, all_finite, fitted, view

RUNS, ALL = PartitionSpec("runs"), PartitionSpec()


class Member(NamedTuple):
    """One run: what it was given, and where it is.

    - `numbers`, `x0`: its own hyperparameters and start. - `y`: its point of phase space. - `fault`: 0, or when and how
      it failed. - `moved`: whether it was ever seen elsewhere than at its start.
    """

    numbers: PyTree
    x0: PyTree
    y: Any
    fault: Any
    moved: Any


class Plan(NamedTuple):
    """What one call does to every run, from step `k` on: so many `steps`, then a look, for each entry.

    - `kept`: whether what is seen then is part of the result.
    """

    k: Any
    steps: Any
    kept: Any


def fault_at(k: Array, escaped: Array, fine: Array) -> Array:
    """Failure after step k in one number: odd if the run diverged, even if it turned nonfinite, 0 if all is well."""
    return jnp.where(escaped, 2 * k + 1, jnp.where(fine, 0, 2 * k + 2)).astype(jnp.int32)


def read_fault(fault: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first bad step, -1 if there is none, and the status."""
    how = np.where(fault % 2 == 1, int(Status.diverged), int(Status.nonfinite))
    return np.where(fault == 0, -1, (fault - 1) // 2), np.where(fault == 0, int(Status.ok), how)


def advance(member: Member, page: AbstractOptimizer, loss: Callable, plan: Plan, points: bool) -> tuple[Member, Any]:
    """One run through the plan: where it is then; the losses, gradient norms and, if asked for, positions seen."""
    x, grad, look, reach = view(loss, member.x0)
    page = fitted(eqx.combine(member.numbers, page), member.x0, x.dtype)
    y = jax.tree.map(lambda start, now: jnp.where(plan.k == 0, start, now), page.init(x, grad), member.y)

    def one(_, carry):
        k, y, fault = carry
        y = page.step(k * page.h, y, grad)
        out = reach(y.x)
        now = fault_at(k + 1, out > 1, (out <= 1) & all_finite(y[1:]))
        return k + 1, y, jnp.where(fault == 0, now, fault)

    def some(carry, entry):
        (k, y, fault, moved), (steps, kept) = carry, entry
        k, y, fault = jax.lax.fori_loop(0, steps, one, (k, y, fault))
        seen = look(y.x)
        now = fault_at(k, jnp.asarray(False), all_finite((y, seen)))
        fault = jnp.where(kept & (fault == 0), now, fault)
        return (k, y, fault, moved | (kept & (y.x != x).any())), (*seen, y.x if points else None)

    carry = plan.k, y, member.fault, member.moved
    (_, y, fault, moved), seen = jax.lax.scan(some, carry, (plan.steps, plan.kept))
    return member._replace(y=y, fault=fault, moved=moved), seen


@eqx.filter_jit
def run(mesh: Mesh, members: Member, page: AbstractOptimizer, loss: Callable, plan: Plan, points: bool):
    """`advance` for arrays of members, `(blocks, ..., lanes)`; what was seen comes as `(blocks, looks, ..., lanes)`."""
    shared, static = eqx.partition((page, loss, plan), eqx.is_array)

    def on_one_device(members, shared):
        page, loss, plan = eqx.combine(shared, static)
        block = jax.vmap(lambda member: advance(member, page, loss, plan, points), in_axes=-1, out_axes=-1)
        return jax.lax.map(block, members)

    split = jax.shard_map(on_one_device, mesh=mesh, in_specs=(RUNS, ALL), out_specs=RUNS, check_vma=False)
    return split(members, shared)


def meshed(devices: Sequence[Any]) -> Mesh:
    return Mesh(np.array(devices), ("runs",))


def everywhere(mesh: Mesh, tree: PyTree) -> PyTree:
    """Arrays that all runs share, on every device."""
    return jax.tree.map(
        lambda leaf: jax.device_put(np.asarray(leaf), NamedSharding(mesh, ALL)) if eqx.is_array(leaf) else leaf, tree
    )


def dealt(mesh: Mesh, array: np.ndarray, lanes: int) -> Array:
    """Runs, `(runs, ...)`, as blocks of lanes, `(blocks, ..., lanes)`, each block on its device."""
    blocks = np.moveaxis(array.reshape(-1, lanes, *array.shape[1:]), 1, -1)
    place = NamedSharding(mesh, RUNS)
    return jax.make_array_from_callback(blocks.shape, place, lambda here: np.ascontiguousarray(blocks[here]))


def gathered(array: Array) -> np.ndarray:
    """Blocks of lanes as runs along the first axis again, from all devices and all processes."""
    if not array.is_fully_addressable:
        from jax.experimental.multihost_utils import process_allgather

        array = process_allgather(array, tiled=True)
    blocks = np.moveaxis(np.asarray(array), -1, 1)
    return blocks.reshape(-1, *blocks.shape[2:])
