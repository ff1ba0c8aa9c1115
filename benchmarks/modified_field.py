"""What the modified vector fields of order 2 and 3 cost, in evaluations of the gradient.

python benchmarks/modified_field.py
"""

import statistics
import time

import jax
import jax.numpy as jnp

from dynopt import SGD, Modified, Momentum, problems

DIM, ROUNDS = 10_000, 200

jax.config.update("jax_enable_x64", True)
rows = jax.random.normal(jax.random.key(0), (500, DIM))
LOSSES = {
    "Rosenbrock": problems.rosenbrock(DIM).loss,
    "logistic regression, 500 rows": lambda x: jnp.mean(jnp.logaddexp(0.0, rows @ x)),
}


def timed(function, *arguments) -> float:
    start = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    return time.perf_counter() - start


def main() -> None:
    print(f"dimension {DIM}, float64; median of {ROUNDS} rounds in turn, divided by one gradient")
    for name, loss in LOSSES.items():
        grad, x = jax.grad(loss), jnp.linspace(-1.0, 1.0, DIM)
        calls = {"gradient": (jax.jit(grad), x)}
        for optimizer in (SGD(1e-3), Momentum(1e-3)):
            y = optimizer.init(x, grad)
            for order in (2, 3):
                modified = Modified(optimizer, order)
                field = jax.jit(lambda y, m=modified, g=grad: m.vector_field(0.0, y, g))
                calls[f"{optimizer.name}, order {order}"] = (field, y)
        for function, argument in calls.values():
            timed(function, argument)
        seconds = {label: [] for label in calls}
        for _ in range(ROUNDS):
            for label, (function, argument) in calls.items():
                seconds[label].append(timed(function, argument))
        one_gradient = statistics.median(seconds["gradient"])
        print(f"\n{name}: one gradient {1e6 * one_gradient:.0f} µs")
        for label, times in seconds.items():
            print(f"  {label:20} {statistics.median(times) / one_gradient:6.2f}")


if __name__ == "__main__":
    main()
