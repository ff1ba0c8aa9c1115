"""The limit h → 0 of a map that cannot be computed at h = 0; and whether there is one."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ..errors import InvalidValue
from ..optimizers.base import coefficient

CLOCKS = 8  # whose derivatives the polynomial runs through
REST = 3e-3  # at a clock SHORT as long, a step that is linear in h is 10⁻⁴ as long, one like √h is 10⁻²
SHORT = 1e-4  # times the longest of the clocks above
SETTLED = 1e-3  # of the derivative: the most that two clocks fewer may change in it


def extrapolated(curve: Callable[[Array], PyTree], terms: int, span: Array, clocks: int = CLOCKS) -> list[PyTree]:
    """The Taylor coefficients of h, h², ... at h = 0 of a curve that is known for 0 < h ≤ span.

    Its derivative is taken at Chebyshev points of that interval; the polynomial through them is extrapolated to 0.
    """
    places, powers = _polynomial(clocks)
    slopes = jax.vmap(lambda h: jax.jvp(curve, (h,), (jnp.ones_like(h),))[1])(span * places.astype(span.dtype))
    return [
        jax.tree.map(lambda d, k=k: jnp.tensordot(powers[k - 1].astype(d.dtype), d, 1) / (k * span ** (k - 1)), slopes)
        for k in range(1, terms + 1)
    ]


@cache
def _polynomial(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Chebyshev points of [0, 1]; and the matrix from values there to the coefficients of 1, u, u², ..."""
    points = (1 - np.cos((2 * np.arange(n) + 1) * np.pi / (2 * n))) / 2
    columns = []
    for i, u in enumerate(points):
        others = np.delete(points, i)
        columns.append(np.polynomial.polynomial.polyfromroots(others) / np.prod(u - others))
    return points, np.stack(columns, 1)


def judge(page: Any, x: np.ndarray) -> tuple[bool, str, tuple[str, ...], float | None]:
    """Whether the map of a derived page can be differentiated at h = 0; why it has no limit, if it has none; which
    memories are plain averages that start at 0; and the order of the gap, if a layer at the start may lower it.

    **Raises:** `InvalidValue` if an integer leaf counts anything but steps.
    """
    with jax.enable_x64(True):
        h, reach = jnp.asarray(float(page.h)), jnp.asarray(float(page.reach))
        seen = jax.tree.map(np.asarray, jax.jit(lambda h, reach, x: _look(page, h, reach, x))(h, reach, jnp.asarray(x)))
    for path, counted in seen["counts"].items():
        if not counted:
            raise InvalidValue(
                f"the state leaf `{path}` of {page.name} is an integer that does not count steps, so no time stands "
                "for it; use a transformation whose integers count steps."
            )
    causes = [cause for field in page.fields if (cause := _cause(page, field, seen))]
    fault = f"{page.name} has no flow: {'; '.join(causes)}." if causes else ""
    averaged = tuple(field for field in page.fields[1:] if page.reading.counts and seen["average"][field])
    return bool(seen["smooth_at_zero"]), fault, averaged, None if fault else _order_of_start(seen)


def _look(page, h, reach, x):
    """What a map does near a point that three steps have led to."""

    def grad(x):
        return x + jnp.sin(2 * x) / 3

    def leap(y, h):
        return jax.tree.map(lambda a, b: jnp.abs(a - b).max(), page._update(h, count(h), y, grad), y)

    def count(h):
        return t / h if page.reading.counts else 0

    y = start = page.init(x, grad)
    for k in range(3):
        y = page._update(h, k, y, grad)
    t = 3 * h

    def curve(h):
        return page._update(h, count(h), y, grad)

    plain = not page.reading.counts and not page.scale
    at_zero = coefficient(curve, 1, x.dtype) if plain else jax.tree.map(jnp.zeros_like, y)
    eight, six = (extrapolated(curve, 1, reach, n)[0] for n in (CLOCKS, CLOCKS - 2))
    apart = jax.tree.map(lambda a, b: jnp.abs(a - b).max() / jnp.maximum(jnp.abs(a).max(), 1e-300), eight, six)
    kept, average = {}, {}
    for name in page.fields[1:]:
        ones = jnp.ones_like(getattr(y, name))
        shares = [_share(page, z, name, ones, reach, t, grad) for z in (y, start)]
        kept[name] = _share(page, y, name, ones, SHORT * reach, t, grad).mean()
        even = jnp.abs(jnp.stack(shares) - shares[0].ravel()[0]).max() < 1e-9
        average[name] = even & (shares[0].ravel()[0] < 1) & (getattr(start, name) == 0).all()

    _, steps = jax.lax.scan(
        lambda carry, k: _walk(page, SHORT * reach, grad(x), carry, k), page._start(SHORT * reach, x), jnp.arange(65)
    )
    return {
        "first steps": steps,
        "counts": page._counted(x, grad),
        "smooth_at_zero": plain & _finite(at_zero),
        "short": leap(y, SHORT * reach)._asdict(),
        "long": leap(y, reach)._asdict(),
        "reach": reach,
        "apart": apart._asdict(),
        "kept": kept,
        "average": average,
    }


def _walk(page, h, g, y, k):
    """One more step under a gradient that never changes, and its size in units of h."""
    after = page._update(h, k, y, lambda x: g)
    return after, jnp.linalg.norm(after.x - y.x) / h


def _order_of_start(seen: dict[str, Any]) -> float | None:
    """None, if the first steps are alike. If they settle, they cost O(h) once; if they fall like k^-a, O(h^(1-a))."""
    steps, usual = seen["first steps"], float(seen["long"]["x"]) / float(seen["reach"])
    if abs(steps[1] - steps[0]) < 0.01 * max(usual, steps[0]):
        return None
    return 1 + round(2 * float(np.log(steps[64] / steps[16]) / np.log(65 / 17))) / 2


def _share(page, y, name, ones, h, t, grad):
    """Which share of a memory one step keeps, coordinate by coordinate."""

    def after(value):
        return getattr(page._update(h, t / h if page.reading.counts else 0, y._replace(**{name: value}), grad), name)

    return jax.jvp(after, (getattr(y, name),), (ones,))[1]


def _finite(tree):
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


def _cause(page, field: str, seen: dict[str, Any]) -> str:
    """Why one coordinate of phase space has no velocity; nothing if it has one."""
    path = next((leaf.path for leaf in page.reading.leaves if leaf.name == field), "")
    short, long, apart = (float(seen[what][field]) for what in ("short", "long", "apart"))
    if not np.isfinite([short, long]).all():
        return f"the state leaf `{path}` is not finite as h → 0" if path else "the position is not finite as h → 0"
    if short > REST * long:
        if field == "x":
            return "the position moves by a step that does not shrink like h; give it the learning rate h"
        if abs(float(seen["kept"][field]) - 1) < 1e-3:
            return f"the state leaf `{path}` grows without bound as h → 0; declare how, as in scale={{'{field}': -1}}"
        return (
            f"the state leaf `{path}` forgets as fast however short the step; let its decay be 1 - h/tau, or wrap "
            "the page in dynopt.Memoryless"
        )
    if not apart < SETTLED and long > 0:
        what = f"the state leaf `{path}`" if path else "the position"
        return f"the velocity of {what} does not settle as h → 0"
    return ""
