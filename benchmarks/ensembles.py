"""What noise costs: an ensemble of SGD beside the noise-free sweep and the bare random numbers.

    python benchmarks/ensembles.py

So many runs of so many steps on a bowl of two dimensions, on all cores, in double and in single
precision. "random numbers" are the normal numbers alone, as jax.random draws them: for each run and
each step one `fold_in` of its key and two normal numbers, on all cores.
"""

from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
from side_by_side import in_turn, ratio

from dynopt import SGD, Noisy, Problem, ensemble, sweep

RUNS, STEPS, ROUNDS = 10**5, 1000, 3


def contest(dtype):
    bowl = Problem(lambda x: (x**2).sum() / 2, jnp.ones(2, dtype), name="bowl")
    noisy, starts = Noisy(SGD(0.1), sigma=1.0), np.ones((RUNS, 2), dtype)
    keys = jax.random.split(jax.random.key(0), (4, RUNS // 4))

    @jax.jit
    def numbers(keys):
        def add(total, k):
            def draw(key):
                return jax.random.normal(jax.random.fold_in(key, k), (2,), dtype)

            return total + jax.vmap(draw, out_axes=1)(keys), None

        return jax.lax.scan(add, jnp.zeros((2, keys.size), dtype), jnp.arange(STEPS))[0]

    def all_numbers():
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda part: numbers(part).block_until_ready(), keys))

    ends = {"paths": RUNS, "save_every": STEPS}
    return {
        "sweep without noise": lambda: sweep(
            SGD(0.1), bowl, STEPS, x0=starts
        ).x.block_until_ready(),
        "ensemble of the map": lambda: ensemble(noisy, bowl, STEPS, **ends).x.block_until_ready(),
        "random numbers": all_numbers,
    }


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    for dtype in (np.float64, np.float32):
        times = in_turn(contest(dtype), ROUNDS)
        print(f"{dtype.__name__}: {RUNS} runs of {STEPS} steps")
        for name, taken in times.items():
            nanoseconds = 1e9 * min(taken) / RUNS / STEPS
            factor = ratio(taken, times["sweep without noise"])
            print(f"  {name:<20} {nanoseconds:7.2f} ns per step, {factor:6.1f} x the sweep")
