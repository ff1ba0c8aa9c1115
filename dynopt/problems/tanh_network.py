"""A small network on which gradient descent comes to the edge of stability."""

from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ..checks import whole_number
from .layers import affine
from .problem import Problem, source_in_docstring

WIDTHS = (1, 30, 20, 1)


def tanh_network(key: Any = 0) -> Problem:
    """A network of 1, 30, 20 and 1 units that learns T₄ on 20 Chebyshev points.

        f = 1/(2n) Σᵢ (net(aᵢ) - T₄(aᵢ))²,   net(a) = tanh(tanh(a W₁ + b₁) W₂ + b₂) W₃ + b₃

        aᵢ = cos((2i - 1)π/(2n)),   T₄(a) = 8a⁴ - 8a² + 1,   n = 20

    Domain: everywhere; f is not convex, and units may be exchanged and change sign without effect.
    Minimizers: not known; f >= 0. Gradient descent raises the largest curvature λ to the edge of
    stability, 2/η, and keeps it near there.

    - `key`: a whole number or a `jax.random.key`, by default 0. The start is drawn from it: weights
      and biases uniformly from ±1/√(units of the layer before), as in PyTorch.

    The position is a dict of layers, `{"layer1": {"b": (30,), "w": (1, 30)}, ...}`, 701 numbers.

    >>> problem = tanh_network()
    >>> problem
    Problem(tanh_network, dim=701)
    >>> problem.x0["layer2"]["w"].shape
    (30, 20)

    Source: made for this course after the Chebyshev regression of J. M. Cohen, S. Kaur, Y. Li,
    J. Z. Kolter and A. Talwalkar, "Gradient descent on neural networks typically occurs at the edge
    of stability", ICLR (2021), whose points are evenly spaced; here they are Chebyshev's.
    """
    points = np.cos((2 * np.arange(20) + 1) * np.pi / 40)
    return Problem(
        _half_mean_square,
        _start(key),
        data=(points[:, None], 8 * points**4 - 8 * points**2 + 1),
        name="tanh_network",
        source=source_in_docstring(tanh_network),
    )


def _half_mean_square(x, data):
    points, targets = data
    hidden = jnp.tanh(affine(points, x["layer1"]))
    hidden = jnp.tanh(affine(hidden, x["layer2"]))
    return ((affine(hidden, x["layer3"])[:, 0] - targets) ** 2).mean() / 2


def _start(key: Any):
    """All numbers are drawn at once in float32, so that they are the same with and without x64."""
    if not (isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)):
        key = jax.random.key(whole_number("key", key, least=0))
    sizes = [(before + 1) * after for before, after in pairwise(WIDTHS)]
    numbers: Any = jax.random.uniform(key, (sum(sizes),), jnp.float32, -1, 1)
    numbers = numbers if isinstance(numbers, Tracer) else np.asarray(numbers, float)
    start = {}
    for i, (before, after) in enumerate(pairwise(WIDTHS)):
        part = numbers[sum(sizes[:i]) : sum(sizes[: i + 1])]
        layer = part.reshape(before + 1, after) / before**0.5
        start[f"layer{i + 1}"] = {"w": layer[1:], "b": layer[0]}
    return start
