"""The peers of `sweep.py`: the same runs by hand in C, PyTorch, optax and JAX.

Each takes the name of one of `OPTIMIZERS`, starts of shape (runs, 2) and a number of steps, and
returns the last positions.
"""

import ctypes
import os
import subprocess
from pathlib import Path

import jax
import numpy as np
import optax

from dynopt import SGD, Adam, Momentum

# Threads that spin while they wait are a hundred times as slow once another process needs a core.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
import torch  # noqa: E402, it reads the environment when it is imported

OPTIMIZERS = {"SGD": SGD(0.01), "Momentum": Momentum(0.001), "Adam": Adam(0.01)}
RATES = {"SGD": [0.01], "Momentum": [0.001, 0.9], "Adam": [0.01, 0.9, 0.999, 1e-8]}
OPTAX = {
    "SGD": optax.sgd(0.01),
    "Momentum": optax.sgd(0.001, momentum=0.9),
    "Adam": optax.adam(0.01),
}
FLAGS = ["-O3", "-march=native", "-ffast-math", "-fopenmp", "-shared", "-fPIC"]


def himmelblau(xy):
    x, y = xy
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


class C:
    """`sweep.c`, compiled into a folder; it also returns losses, gradient norms and failures."""

    def __init__(self, folder: str, threads: int):
        library, source = (
            Path(folder) / "sweep.so",
            Path(__file__).with_suffix(".c").with_stem("sweep"),
        )
        subprocess.run(["gcc", *FLAGS, str(source), "-o", str(library), "-lm"], check=True)
        self.library, self.threads = ctypes.CDLL(str(library)), threads

    def sweep(self, name: str, starts: np.ndarray, steps: int, threads: int | None = None):
        runs = len(starts)
        ends, loss, norm = np.empty((runs, 2)), np.empty(runs), np.empty(runs)
        failure = np.empty(runs, np.int64)
        arrays = np.array(RATES[name]), starts, ends, loss, norm, failure
        pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in arrays]
        run = getattr(self.library, name.lower())
        run(
            ctypes.c_long(runs),
            ctypes.c_long(steps),
            ctypes.c_int(threads or self.threads),
            *pointers,
        )
        return ends, loss, norm, failure

    def __call__(self, name: str, starts: np.ndarray, steps: int) -> np.ndarray:
        return self.sweep(name, starts, steps)[0]


def torch_loop(name: str, starts: np.ndarray, steps: int) -> np.ndarray:
    """All runs in one parameter; as their losses do not mix, neither do their gradients."""
    x = torch.tensor(starts.T.copy(), requires_grad=True)
    makers = {
        "SGD": lambda: torch.optim.SGD([x], 0.01),
        "Momentum": lambda: torch.optim.SGD([x], 0.001, momentum=0.9),
        "Adam": lambda: torch.optim.Adam([x], 0.01),
    }
    optimizer = makers[name]()
    for _ in range(steps):
        optimizer.zero_grad()
        himmelblau(x).sum().backward()
        optimizer.step()
    return x.detach().numpy().T


_gradient = jax.jit(jax.grad(himmelblau))


def optax_loop(name: str, starts: np.ndarray, steps: int) -> np.ndarray:
    """Run by run and step by step, as in optax's examples; only the gradient is compiled."""
    ends = []
    for x in jax.numpy.asarray(starts):
        state = OPTAX[name].init(x)
        for _ in range(steps):
            updates, state = OPTAX[name].update(_gradient(x), state)
            x = optax.apply_updates(x, updates)
        ends.append(x)
    return np.stack(ends)


@jax.jit(static_argnames=("name", "steps"))
def _scan(name: str, starts: jax.Array, steps: int):
    def step(carry, _):
        x, state = carry
        updates, state = OPTAX[name].update(jax.grad(himmelblau)(x), state)
        return (optax.apply_updates(x, updates), state), None

    def run(x):
        (x, _), _ = jax.lax.scan(step, (x, OPTAX[name].init(x)), length=steps)
        return x, *jax.value_and_grad(himmelblau)(x)

    return jax.vmap(run)(starts)


def vmap_scan(name: str, starts: np.ndarray, steps: int) -> np.ndarray:
    """`jit(vmap(scan))` of optax by hand, without a check for divergence."""
    return np.asarray(jax.block_until_ready(_scan(name, starts, steps))[0])
