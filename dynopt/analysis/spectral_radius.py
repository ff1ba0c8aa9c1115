"""The spectral radius of the map, linearised at rest."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Complex, Float

from ..checks import Scalar, must_be_concrete
from ..derivations.leaves import first_line
from ..errors import DynoptError, InvalidValue
from ..optimizers import AbstractOptimizer
from ..optimizers.base import must_be_optimizer
from ..optimizers.wrappers.noise import must_have_no_noise
from ..problems.arrays import complex_array
from ..runs.batches import must_be_single
from ..runs.prepare import with_dtype

MANY_STEPS = 1e9  # after so many steps every cold start is forgotten
PROBE_GRADIENTS = (1.0, -0.7, 0.4)  # their signs tell one kind of memory from the other
BATCH_SIZE = 1024  # linearised maps per compiled call; one compilation serves any number of maps


def spectral_radius(optimizer: AbstractOptimizer, curvature) -> np.ndarray | float:
    """The largest |eigenvalue| of the map's Jacobian at rest, on the quadratic f(x) = λ x²/2.

    Near the fixed point x = 0 a perturbation develops as δₖ₊₁ = J(λ) δₖ. It decays like radiusᵏ if
    the radius is below 1, and grows if it is above 1.

    A field that is no gradient, as in a game, also has modes with a complex λ = a + ib. Such a mode
    is a plane, in which the gradient is replaced by g(x) = A x with A = [[a, -b], [b, a]]: the flow
    of `SGD` turns there with the angular frequency b while it decays with the rate a.

    J is `jax.jacfwd` of the optimizer's own `step`, long after any cold start, with respect to the
    position and to those memories that change sign with the gradient, such as p, m or a trace.
    Memories that do not change sign, such as means and sums of g², are a preconditioner P. They
    are frozen, each so that its next value is 1, or for a sum what one gradient of 1 adds to it.
    Where P = √v, as for RMSprop and Adam, or √S, as for AdaGrad, λ is therefore relative to P, an
    eigenvalue of P⁻¹∇²f; with ε, P = 1 + ε or √(1 + ε). Everything is computed in float64, whatever
    JAX is set to.

    - `curvature`: λ, one number or an array, real or complex, in units of 1/learning_rate.

    Returns a float, or an array of the shape of `curvature`; NaN where the map has no derivative
    at rest, or where its preconditioner does not grow with the gradient or depends on the position.

    **Raises:** `InvalidType` or `InvalidValue` for wrong input, as a batch of optimizers is, also
    inside `jit` or `vmap`, because eigenvalues need numbers; `InvalidValue` if the optimizer is
    made for positions with labels, and not for one number.

    >>> from dynopt import SGD
    >>> spectral_radius(SGD(0.1), [5.0, 10.0, 20.0, 30.0]).round(6).tolist()  # |1 - η λ|
    [0.5, 0.0, 1.0, 2.0]
    >>> print(f"{spectral_radius(SGD(0.1), 5.0j):.6f}, {(1 + 0.5**2) ** 0.5:.6f}")  # it turns
    1.118034, 1.118034

    Source: B. T. Polyak, "Some methods of speeding up the convergence of iteration methods"
    (1964), for the heavy ball; J. Cohen et al., "Adaptive gradient methods at the edge of
    stability" (2022), for the frozen preconditioner.
    """
    must_have_no_noise("spectral_radius", optimizer)
    must_be_optimizer(optimizer)
    must_be_single(optimizer)
    must_be_concrete("spectral_radius", optimizer, curvature)
    if getattr(getattr(optimizer, "transformation", None), "unravel", None) is not None:
        raise InvalidValue(
            f"the position of a mode is one number, but {optimizer!r} is made for PyTrees; make it "
            "without `like`."
        )
    values = np.asarray(complex_array("curvature", curvature))
    values = values.astype(complex if np.iscomplexobj(values) else float)
    radii = radii_at(optimizer, values.ravel()).reshape(values.shape)
    return radii if radii.ndim else float(radii)


def radii_at(optimizer: AbstractOptimizer, curvatures: np.ndarray, *options: float) -> np.ndarray:
    """The spectral radius at each curvature; `options` are those of `jacobian`."""
    with jax.enable_x64(True):
        double = with_dtype(optimizer, jnp.float64)
        numbers = [jnp.asarray(option) for option in options or (MANY_STEPS, 0.0, 0.0)]
        try:
            return radii_in_batches(lambda rows: _jacobians(double, rows, *numbers), curvatures)
        except DynoptError:
            raise
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            size = "two numbers" if np.iscomplexobj(curvatures) else "one number"
            raise InvalidValue(
                f"the map of {optimizer!r} cannot step a position of {size} "
                f"({first_line(error)}); pass an optimizer for positions of any length."
            ) from error


def radii_in_batches(jacobians: Callable, *columns: np.ndarray) -> np.ndarray:
    """The spectral radius of each matrix in `jacobians(*columns)`; NaN if it is not finite.

    `jacobians` is called with `BATCH_SIZE` rows at a time; the last batch is filled up.
    """
    count = len(columns[0])
    if not count:
        return np.empty(0)
    batches = -(-count // BATCH_SIZE)
    filled = [np.resize(column, batches * BATCH_SIZE).reshape(batches, -1) for column in columns]
    matrices = np.concatenate([np.asarray(jacobians(*rows)) for rows in zip(*filled, strict=True)])[
        :count
    ]
    return radii_of(matrices)


def radii_of(matrices: np.ndarray) -> np.ndarray:
    """The spectral radius of each matrix of a stack; NaN if it is not finite."""
    is_finite = np.isfinite(matrices).all((-2, -1))
    radii = np.full(len(matrices), np.nan)
    radii[is_finite] = np.abs(np.linalg.eigvals(matrices[is_finite])).max(-1)
    return radii


@eqx.filter_jit
def _jacobians(optimizer: AbstractOptimizer, curvatures: Array, *options: Array) -> Array:
    return jax.vmap(lambda curvature: jacobian(optimizer, curvature, *options))(curvatures)


def jacobian(
    optimizer: AbstractOptimizer,
    curvature: Scalar | Complex[Array, ""],
    steps: Scalar = MANY_STEPS,
    minimizer: Scalar = 0.0,
    slope: Scalar = 0.0,
) -> Float[Array, "n n"]:
    """J over all coordinates of phase space, at the minimizer of a quadratic plus a slope.

    The position has one coordinate, and two if the curvature is complex.
    Rows and columns of frozen coordinates are 0, which changes no radius. A memory of neither kind
    is what `steps` steps at 0 make of it, so that it may know of the start at 0. NaN where a memory
    that does not change sign is no preconditioner, because it does not grow with the gradient, or
    depends on the position.
    """
    dim = 2 if jnp.iscomplexobj(curvature) else 1
    start, unravel = ravel_pytree(optimizer.init(jnp.zeros(dim), jnp.zeros_like))
    moved, _ = ravel_pytree(optimizer.init(jnp.full(dim, minimizer), jnp.zeros_like))

    def field(x):
        x = x - minimizer
        if dim == 1:
            return curvature * x + slope
        a, b = jnp.real(curvature), jnp.imag(curvature)
        return jnp.stack([a * x[0] - b * x[1], b * x[0] + a * x[1]]) + slope

    def step(z, grad, k=0):
        return ravel_pytree(optimizer.step((steps + k) * optimizer.h, unravel(z), grad))[0]

    def after_probes(scale):
        """The point after three steps under the probe gradients, times `scale`."""

        def one_step(z, probe):
            k, g = probe
            return step(z, lambda x: jnp.full_like(x, scale * g), k), None

        probes = jnp.arange(len(PROBE_GRADIENTS)), jnp.asarray(PROBE_GRADIENTS)
        return jax.lax.scan(one_step, start, probes)[0]

    still, plus, minus, twice_plus, twice_minus = jax.vmap(after_probes)(
        jnp.array([0.0, 1.0, -1.0, 2.0, -2.0])
    )
    odd = jnp.abs(plus - minus)
    even = jnp.abs(twice_plus + twice_minus - plus - minus)
    changes_sign = (odd > even).at[:dim].set(True)  # the position counts as such, whatever it does
    is_preconditioner = ~changes_sign & (even > 0)
    grows = even > 0.4 * jnp.abs(plus + minus - 2 * still)  # at least like the root of |g|

    def next_and_fraction(z):
        """At rest, the next point, and how much each coordinate keeps of itself."""
        return step(z, jnp.zeros_like), jnp.diagonal(jax.jacfwd(step)(z, jnp.zeros_like))

    # A sum keeps all of itself and grows, however large it is and whatever the gradient is.
    after, fraction = next_and_fraction(start)
    larger = jnp.where(is_preconditioner, start + 2, start)
    after_one, at_one = step(start, jnp.ones_like), jax.jacfwd(step)(start, jnp.ones_like)
    keeps_all = (fraction == 1) & (jnp.diagonal(at_one) == 1)
    is_sum = keeps_all & (step(larger, jnp.ones_like) > larger)
    target = jnp.where(is_sum, after_one - start, 1.0)
    measures_gradients = grows & (at_one[:, :dim] == 0).all(1)  # and not the position

    def newton(_, z):
        """Newton's method for next = target, each coordinate by itself.

        It is exact for a mean, a sum or a maximum, and for means of such.
        """
        after, fraction = next_and_fraction(z)
        solved = z + (target - after) / jnp.where(fraction > 1e-6, fraction, jnp.nan)
        return jnp.where(is_preconditioner, solved, z)

    # Coordinates of neither kind grow by themselves, as a sum of learning rates does.
    total = jnp.where(fraction == 1, steps, (1 - fraction**steps) / (1 - fraction))
    late = start + (after - start) * total
    at_rest = jnp.where(is_preconditioner, jnp.where(measures_gradients, 1.0, jnp.nan), late)
    equilibrium = jnp.where(changes_sign, moved - start, at_rest)
    equilibrium = jax.lax.fori_loop(0, 4, newton, equilibrium)
    matrix = jax.jacfwd(step)(equilibrium, field)
    return jnp.where(changes_sign[:, None] & changes_sign[None], matrix, 0.0)
