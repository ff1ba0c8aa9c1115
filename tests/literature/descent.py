"""Gradient descent, its flow and its modified equations."""

import itertools
import warnings

import jax
import jax.numpy as jnp
import numpy as np

from dynopt import SGD, Modified, Momentum, Problem, WithGradient, analysis, integrate, iterate
from dynopt.problems import quadratic

from .claim import Chapter

chapter = Chapter()


def slope(h, error):
    """The slope of log(error) over log(h) between the last two points."""
    return float(np.log(error[-2] / error[-1]) / np.log(h[-2] / h[-1]))


@chapter.claim(
    "on a quadratic, gradient descent lies on the flow with the rates log(1 - ηλ)/η",
    "M. Rosca, Y. Wu, C. Qin, B. Dherin, On a continuous time model of gradient descent dynamics "
    "and instability in deep learning, TMLR (2023)",
    0.0,
    within=1e-11,
)
def principal_flow():
    h, eigenvalues = 0.1, np.array([1.0, 4.0, 9.0])
    rates = -np.log(1 - h * eigenvalues) / h
    map_run = iterate(SGD(h), quadratic(eigenvalues), 30)
    flow = integrate(SGD(h), quadratic(rates), 30, rtol=1e-13)
    return float(jnp.abs(map_run.x - flow.x).max())


def _batch_losses(x):
    """Four losses of two coordinates, none of them quadratic."""
    targets = jnp.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.5], [0.5, -1.0]])
    return jnp.log(jnp.cosh((x[None] - targets) @ jnp.array([[1.0, 0.5], [0.3, 2.0]]))).sum(-1)


@chapter.claim(
    "mean over the 24 orders of m = 4 batches: order of the error against the flow of "
    "f + η/(4m) Σ|gₖ|²",
    "S. Smith, B. Dherin, D. Barrett, S. De, ICLR (2021)",
    3.0,
    within=0.15,
)
def shuffled_epochs():
    start, num_batches = jnp.array([0.7, -0.4]), 4
    orders = jnp.array(list(itertools.permutations(range(num_batches))))

    def batch_gradient(x, k):
        return jax.grad(lambda x: _batch_losses(x)[k])(x)

    def loss(x, h):
        norms = jax.vmap(lambda k: jnp.sum(batch_gradient(x, k) ** 2))(jnp.arange(num_batches))
        return _batch_losses(x).mean() + h / 4 * norms.mean()

    @jax.jit
    def mean_after_one_epoch(h):
        optimizer = SGD(h)

        def epoch(order):
            y = optimizer.init(start, jnp.zeros_like)
            for k in order:
                y = optimizer.step(0.0, y, lambda x, k=k: batch_gradient(x, k))
            return y.x

        return jax.vmap(epoch)(orders).mean(0)

    time_steps, error = [0.02, 0.01, 0.005], []
    for h in time_steps:
        flow = integrate(SGD(h), Problem(lambda x, h=h: loss(x, h), start), num_batches)
        error.append(float(jnp.linalg.norm(flow.x[-1] - mean_after_one_epoch(h))))
    return slope(time_steps, error)


@chapter.claim(
    "heavy ball at fixed momentum: order of the error against its modified flow, if the flow "
    "starts at x₀ itself",
    "A. Ghosh et al., ICLR (2023)",
    1.0,
    within=0.1,
)
def heavy_ball_without_shift():
    momentum, time_steps, error = 0.8, [2e-4, 1e-4], []

    def loss(x):
        return jnp.log(jnp.cosh(x @ jnp.array([[1.0, 0.5], [0.3, 2.0]]))).sum()

    start = [1.0, -0.6]
    for h in time_steps:

        def modified_loss(x, h=h):
            weight = h * (1 + momentum) / (4 * (1 - momentum) ** 2)
            return loss(x) + weight * jnp.sum(jax.grad(loss)(x) ** 2)

        steps = round(0.2 / h)
        map_run = iterate(Momentum(h, momentum), Problem(loss, start), steps)
        # one step of the map takes the time h/(1-μ) of the gradient flow
        flow = integrate(SGD(h / (1 - momentum)), Problem(modified_loss, start), steps)
        error.append(float(jnp.linalg.norm(map_run.x[-1] - flow.x[-1])))
    return slope(time_steps, error)


@chapter.claim(
    "one step down and one up: order of what is left after -(η²/2) ∇|g|²",
    "R. Karakida et al., Understanding gradient regularization in deep learning, ICML (2023), of the "
    "flooding of T. Ishida et al., ICML (2020)",
    3.0,
    within=0.05,
)
def flooding():
    def loss(x):
        return (x[0] ** 4 + x[0] * x[1] + x[1] ** 2) / 2

    problem, time_steps, left = Problem(loss, [1.0, 0.5]), [0.01, 0.005], []
    penalty_gradient = jax.grad(lambda x: jnp.sum(jax.grad(loss)(x) ** 2))(jnp.array([1.0, 0.5]))
    for h in time_steps:
        down_and_up = WithGradient(
            SGD(h), lambda g, x, k: g * (1 - 2 * (k % 2)), mean=jnp.zeros_like
        )
        change = jnp.diff(iterate(down_and_up, problem, 2, save_every=2).x, axis=0)[0]
        left.append(float(jnp.linalg.norm(change + h**2 / 2 * penalty_gradient)))
    return slope(time_steps, left)


@chapter.claim(
    "largest ratio of the variances of gradient flow at the time t and of ridge regression at 1/t",
    "A. Ali, Z. Kolter, R. Tibshirani, A continuous-time view of early stopping, AISTATS (2019)",
    1.6859,
    within=1e-4,
)
def ridge_against_flow():
    eigenvalues = np.linspace(1.0, 3.0, 401)

    def loss(x):
        return jnp.sum(eigenvalues * (x - 1) ** 2) / 2

    fitted = integrate(SGD(0.1), Problem(loss, np.zeros(401)), 10).x[-1]  # at the time 1
    ridge = eigenvalues / (1 + eigenvalues)
    return float(((fitted / ridge) ** 2).max())


@chapter.claim(
    "y(T) - y(0) of a model along the gradient flow, minus the integral of its path kernel",
    "P. Domingos, Every model learned by gradient descent is approximately a kernel machine "
    "(2020), Theorem 1",
    0.0,
    within=1e-6,
)
def path_kernel():
    inputs, targets = jnp.linspace(-1, 1, 5), jnp.array([0.3, -0.2, 0.5, 0.1, -0.4])

    def model(w, u):
        return w[2] * jnp.tanh(w[0] * u + w[1])

    def loss(w):
        return jnp.sum((jax.vmap(lambda u: model(w, u))(inputs) - targets) ** 2) / 2

    flow = integrate(SGD(0.005), Problem(loss, [1.0, 0.2, 0.5]), 400)

    def kernel_sum(w):
        jacobian = jax.vmap(lambda u: jax.grad(model)(w, u))(inputs)
        residual = jax.vmap(lambda u: model(w, u))(inputs) - targets
        return (jacobian @ jax.grad(model)(w, 0.7)) @ residual

    integrand = jax.vmap(kernel_sum)(flow.x)
    weights = np.tile([2.0, 4.0], 200)
    simpson = 0.005 / 3 * (weights @ integrand[:-1] - integrand[0] + integrand[-1])
    change = model(flow.x[-1], 0.7) - model(flow.x[0], 0.7)
    assert abs(change) > 0.1
    return float(change + simpson)


def _scale_invariant(x):
    direction = x / jnp.linalg.norm(x)
    return jnp.sum((direction - jnp.array([0.0, 0.6, 0.8])) ** 2)


@chapter.claim(
    "growth of |w|² under gradient descent on a loss that ignores |w|, of which the modified flow "
    "explains the share",
    "T. Miyagawa, Toward equation of motion for deep neural networks, NeurIPS (2022)",
    1.0,
    within=0.02,
)
def growth_of_the_norm():
    problem = Problem(_scale_invariant, [1.0, 0.0, 0.0])
    comparison = analysis.compare(Modified(SGD(0.01)), problem, 200)

    def growth(run):
        return jnp.sum(run.x[-1] ** 2) - jnp.sum(run.x[0] ** 2)

    assert growth(comparison.map) > 0.005
    return float(growth(comparison.flow) / growth(comparison.map))


@chapter.claim(
    "order of the modified flow of gradient descent on a loss that ignores |w|",
    "T. Miyagawa, Toward equation of motion for deep neural networks, NeurIPS (2022)",
    2.0,
    within=0.02,
)
def order_on_a_sphere():
    problem = Problem(_scale_invariant, [1.0, 0.0, 0.0])
    return analysis.order(Modified(SGD(0.05)), problem, time=1.0, refinements=5).slope


@chapter.claim(
    "growth of |w| per unit of log n on separable data, at n = 10⁵ to 10⁶ steps",
    "D. Soudry et al., The implicit bias of gradient descent on separable data, JMLR 19 (2018), "
    "Theorem 3: the norm of the support vector machine, 0.4 √2",
    0.4 * np.sqrt(2),
    within=0.05 * 0.4 * np.sqrt(2),
    slow=True,
)
def separable_data():
    # the margin of w = (0.4, 0.4) is 1 at the first two points and larger at the others
    points = jnp.array([[2.0, 0.5], [0.5, 2.0], [3.0, 1.0], [1.0, 4.0]])
    problem = Problem(lambda w: jnp.log1p(jnp.exp(-points @ w)).sum(), [0.0, 0.0])
    run = iterate(SGD(0.1), problem, 10**6, save_every=10**5)
    norms = jnp.linalg.norm(run.x, axis=-1)
    return float((norms[-1] - norms[1]) / np.log(10))


@chapter.claim(
    "SimSiam with stop_gradient: the predictor and the encoder go from (0, 1) to (1, √2)",
    "X. Chen, K. He, Exploring simple siamese representation learning, CVPR (2021), in one "
    "dimension; the end follows from the conserved x₁² - x₀²",
    np.sqrt(2),
    within=1e-6,
)
def simsiam():
    hold = jax.lax.stop_gradient
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="the gradient of .* is not the derivative")
        problem = Problem(lambda x: (x[0] * x[1] - hold(x[1])) ** 2 / 2, [0.0, 1.0])
    return float(integrate(SGD(0.1), problem, 300, save_every=300).x[-1, 1])


@chapter.claim(
    "SimSiam without stop_gradient: the encoder collapses, algebraically, and is small at the "
    "time 200",
    "X. Chen, K. He, Exploring simple siamese representation learning, CVPR (2021), figure 2",
    0.0,
    bounds=(0.0, 0.06),
)
def simsiam_collapses():
    problem = Problem(lambda x: (x[0] * x[1] - x[1]) ** 2 / 2, [0.0, 1.0])
    return float(integrate(SGD(1.0), problem, 200, save_every=200).x[-1, 1])
