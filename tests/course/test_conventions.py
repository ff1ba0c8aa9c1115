"""The dictionary of conventions tells the truth about optax, and about PyTorch as it is documented."""

import inspect

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dynopt import (
    SGD,
    Adam,
    AdamW,
    Alternating,
    Game,
    Langevin,
    Layerwise,
    Leapfrog,
    Memoryless,
    Minibatch,
    Momentum,
    Muon,
    Nesterov,
    NesterovConvex,
    Noisy,
    Optax,
    Optimistic,
    Problem,
    RMSprop,
    Signum,
    Stepped,
    analysis,
    iterate,
    problems,
)
from dynopt.course import conventions
from dynopt.course.steepest import length, measure as steepest
from dynopt.errors import UnknownName
from dynopt.problems.sentences import LOSSES

ETA, MU, RHO, EPS, STEPS = 1e-3, 0.9, 0.95, 1e-4, 20
booth = problems.booth()


def by_hand(update, memory):
    """Positions of x, memory ← update(x, g, memory, k)."""
    x, seen = np.asarray(booth.x0, float), []
    for k in range(STEPS):
        seen.append(x)
        x, memory = update(x, np.asarray(jax.grad(booth.loss)(x)), memory, k)
    return np.array([*seen, x])


def same(optimizer, update, *memory):
    np.testing.assert_allclose(
        iterate(optimizer, booth, STEPS).x, by_hand(update, memory), rtol=1e-11
    )


def says(topic, *formulas):
    """What is tested here is what stands in the table, and nothing else stands there."""
    written = [writes for _, writes, _ in conventions[topic].rows]
    assert len(written) == len(formulas)
    for text, formula in zip(written, formulas, strict=True):
        assert formula in text


def default(function, name):
    return inspect.signature(function).parameters[name].default


def test_momentum():
    says(
        "momentum",
        "p ← μ p - h g, x ← x + h p, h = √η",
        "m ← μ m + g, x ← x - η m: undamped, m = -p/h",
        "b ← μ b + g, θ ← θ - γ b: as optax, with `dampening=0`",
        "m ← β m + (1-β) g, x ← x - η m: damped",
    )

    def optax_and_pytorch(x, g, memory, k):
        (m,) = memory
        m = MU * m + g
        return x - ETA * m, (m,)

    def average(x, g, memory, k):
        (m,) = memory
        m = MU * m + (1 - MU) * g
        return x - ETA * m, (m,)

    same(Momentum(ETA, MU), optax_and_pytorch, 0.0)
    same(Momentum((1 - MU) * ETA, MU), average, 0.0)
    run = iterate(Momentum(ETA, MU), booth, STEPS)
    state, x = optax.sgd(ETA, MU).init(booth.x0), booth.x0
    for _ in range(STEPS):
        updates, state = optax.sgd(ETA, MU).update(jax.grad(booth.loss)(x), state, x)
        x = optax.apply_updates(x, updates)
    np.testing.assert_allclose(-run.y.p[-1] / run.t[1], state[0].trace, rtol=1e-11)


def test_nesterov():
    says(
        "nesterov",
        "x + μ (x - x_before)",
        "m ← μ m + g, x ← x - η (g + μ m)",
        "at yₖ = xₖ + μₖ (xₖ - xₖ₋₁), where μₖ = (k-1)/(k+2) grows: yₖ₊₁ has k/(k+3)",
    )

    def pytorch(x, g, memory, k):
        (b,) = memory
        b = MU * b + g
        return x - ETA * (g + MU * b), (b,)

    same(Nesterov(ETA, MU), pytorch, 0.0)

    def convex(x, g, memory, k):
        """x is the extrapolated point, and w = x - η g is the position."""
        (before,) = memory
        w = x - ETA * g
        return w + k / (k + 3) * (w - before), (w,)

    same(NesterovConvex(ETA), convex, np.asarray(booth.x0, float))

    def ahead(x, g, memory, k):
        (before,) = memory
        w = x - ETA * g
        return w + MU * (w - before), (w,)

    same(Nesterov(ETA, MU), ahead, np.asarray(booth.x0, float))


def test_epsilon():
    says(
        "epsilon",
        "η g/√(v + ε), ε = 1e-8",
        "γ g/(√v + ε), ε = 1e-8: outside, and α = 0.99 where optax has 0.9",
        "η m̂/(√v̂ + ε)",
    )

    def inside(x, g, memory, k):
        v = RHO * memory[0] + (1 - RHO) * g**2
        return x - ETA * g / np.sqrt(v + EPS), (v,)

    def outside(x, g, memory, k):
        v = RHO * memory[0] + (1 - RHO) * g**2
        return x - ETA * g / (np.sqrt(v) + EPS), (v,)

    same(RMSprop(ETA, RHO, EPS), inside, 0.0)
    same(Optax(lambda h: optax.rmsprop(h, RHO, EPS, eps_in_sqrt=False), ETA), outside, 0.0)
    assert default(optax.rmsprop, "eps") == 1e-8 and default(optax.rmsprop, "eps_in_sqrt") is True
    assert default(optax.rmsprop, "decay") == default(RMSprop, "decay") == 0.9


def adam(decay=0.0):
    def update(x, g, memory, k):
        m, v = memory
        x = x - ETA * decay * x
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        return x - ETA * (m / (1 - 0.9 ** (k + 1))) / (
            np.sqrt(v / (1 - 0.999 ** (k + 1))) + 1e-8
        ), (m, v)

    return update


def test_bias_correction():
    says(
        "bias correction",
        "m̂ = m/(1-β₁ᵏ), v̂ = v/(1-β₂ᵏ) after k steps",
        "no: v starts at 0, and the first step is η/√(1-ρ)",
        "v̂ = v/(1-ρᵏ), and the first step is η",
    )
    same(Adam(ETA), adam(), 0.0, 0.0)
    for optimizer, first in (
        (RMSprop(ETA, RHO), ETA / np.sqrt(1 - RHO)),
        (RMSprop(ETA, RHO, bias_correction=True), ETA),
    ):
        x = iterate(optimizer, booth, 1).x
        np.testing.assert_allclose(np.abs(x[1] - x[0]), first, rtol=1e-8)
    assert default(optax.rmsprop, "bias_correction") is False


def test_weight_decay():
    says(
        "weight decay",
        "x ← x - η (m̂/(√v̂ + ε) + λ x), λ = 1e-4 by default",
        "θ ← θ - γ λ θ, then Adam's step; λ = 1e-2 by default",
        "g ← g + λ x before the running means",
    )
    same(AdamW(ETA, weight_decay=0.1), adam(0.1), 0.0, 0.0)
    assert default(optax.adamw, "weight_decay") == 1e-4


def test_length():
    says(
        "length",
        "η ‖g‖",
        "η in every coordinate",
        "η r in every singular direction, r = √max(1, columns/rows)",
        "η ‖g‖* d",
    )
    g = np.asarray(jax.grad(booth.loss)(booth.x0))
    steps = [
        np.diff(iterate(optimizer, booth, 1).x, axis=0)[0]
        for optimizer in (SGD(ETA), Signum(ETA, 0.0))
    ]
    np.testing.assert_allclose(np.linalg.norm(steps[0]), ETA * np.linalg.norm(g), rtol=1e-9)
    np.testing.assert_allclose(np.abs(steps[1]), ETA, rtol=1e-9)
    wide = Problem(
        lambda x: (x**2).sum() / 2, jnp.array([[3.0, 0.0, 1.0], [4.0, 5.0, -1.0]]), name="wide"
    )
    step = np.diff(iterate(Muon(ETA, 0.0, exact=True), wide, 1).x, axis=0).reshape(2, 3)
    np.testing.assert_allclose(np.linalg.svd(step, compute_uv=False), ETA * 1.5**0.5, rtol=1e-9)
    # textbooks: argmin of g·d + |d|²/(2η) is η |g|* d
    for norm in ("euclidean", "max"):
        best = steepest(g, norm)
        chosen = -ETA * best.slope * best.direction
        for other in np.random.default_rng(0).normal(size=(500, 2)):
            near = chosen + 0.1 * ETA * other
            assert model(g, chosen, norm) <= model(g, near, norm)


def model(g, d, norm):
    return g @ d + length(d, norm) ** 2 / (2 * ETA)


def test_order():
    says("order", "O(h²) for Euler's method", "after a fixed time, 1/h steps later: O(h)")
    coarse, fine = (analysis.local_error(SGD(rate), booth, 1).error[0] for rate in (ETA, ETA / 2))
    assert np.log2(coarse / fine) == pytest.approx(2, abs=0.05)
    assert analysis.order(SGD(ETA), booth).pairwise[-1] == pytest.approx(1, abs=0.02)


def test_methods():
    says(
        "methods",
        "x ← x - h ∇f(x)",
        "x ← argmin over z of f(z) + ‖z - x‖²/(2h)",
        "p ← p - h (a p + ∇f(x)), x ← x + h p, with h = √η and a = (1-μ)/h",
        "p ← d p - (h/2) ∇f(x), x ← x + h p, p ← d (p - (h/2) ∇f(x)), d = e^(-a h/2)",
        "x ← x + (h/2) (F(x) + F(x + h F(x))), with F = -∇f",
    )
    gradient = jax.grad(booth.loss)
    hessian, h = np.asarray(jax.hessian(booth.loss)(booth.x0)), ETA**0.5
    a = (1 - MU) / h
    d = np.exp(-a * h / 2)

    def proximal(x, g, memory, k):
        """Booth's function is quadratic, so that g(z) = g + H (z - x) = -(z - x)/h at the next z."""
        return x - np.linalg.solve(hessian + np.eye(2) / ETA, g), memory

    def symplectic(x, g, memory, k):
        p = memory[0] - h * (a * memory[0] + g)
        return x + h * p, (p,)

    def leapfrog(x, g, memory, k):
        p = d * memory[0] - h / 2 * g
        x = x + h * p
        return x, (d * (p - h / 2 * np.asarray(gradient(x))),)

    def heun(x, g, memory, k):
        return x - ETA / 2 * (g + np.asarray(gradient(x - ETA * g))), memory

    same(SGD(ETA), lambda x, g, memory, k: (x - ETA * g, memory))
    same(Stepped(SGD(ETA), diffrax.ImplicitEuler()), proximal)
    same(Momentum(ETA, MU), symplectic, 0.0)
    same(Leapfrog(Momentum(ETA, MU)), leapfrog, 0.0)
    same(Stepped(SGD(ETA), diffrax.Heun()), heun)


def test_time():
    says(
        "time",
        "t = k h with h = η for SGD, RMSprop, Adam and h = √η for momentum",
        "x′ = -∇f with t = k η/(1-μ), or x′ = -∇f/(1-μ) with t = k η",
        "t = k √s",
    )
    assert Momentum(ETA, MU).h == pytest.approx(ETA**0.5) and NesterovConvex(
        ETA
    ).h == pytest.approx(ETA**0.5)
    assert RMSprop(ETA).h == Adam(ETA).h == ETA
    optimizer = Memoryless(Momentum(ETA, MU))
    y = optimizer.init(jnp.array([1.0, 2.0]), lambda x: x)
    np.testing.assert_allclose(
        optimizer.h * optimizer.vector_field(0.0, y, lambda x: x).x,
        -ETA / (1 - MU) * y.x,
        rtol=1e-11,
    )


def test_every_convention_is_a_table_that_a_notebook_shows():
    for topic, convention in conventions.items():
        table = convention._repr_markdown_()
        rows = table.split("\n\n")[1].splitlines()
        assert {row.count("|") for row in rows} == {4} and len(rows) == 2 + len(
            convention.rows
        ) >= 4
        assert table.startswith("**Convention: ") and convention.question.endswith("?"), topic
    assert "letters, time, momentum" in repr(conventions) and "optax.sgd" in repr(
        conventions["momentum"]
    )
    with pytest.raises(UnknownName, match="no convention 'momentun'; did you mean momentum"):
        conventions["momentun"]
    assert (
        "momentun" not in conventions
        and conventions.get("momentun") is None
        and "time" in conventions
    )


def test_games():
    """One step of each, from (1, 0.75), for the losses f₁ = a b + a²/2 and f₂ = -a b."""
    says(
        "games",
        "each player lowers its own loss: x′ = -g(x) with g = (∂f₁/∂x₁, ∂f₂/∂x₂)",
        "each player raises its own payoff: x′ = v(x), v = -g",
        "min over a, max over b of f(a, b)",
        "one round: the discriminator moves, and then the generator",
        "x ← x - η ((α + β) g - β g_before), with g_before = g at first",
    )

    def product(x):
        return x["a"] * x["b"]

    x0, eta = {"a": 1.0, "b": 0.75}, 0.1
    losses = {"a": lambda x: product(x) + x["a"] ** 2 / 2, "b": lambda x: -product(x)}
    for game, optimizer, steps, a, b in (
        (Game(losses, x0), SGD(eta), 1, 1 - eta * 1.75, 0.75 + eta),
        (Game.zero_sum(product, x0), SGD(eta), 1, 1 - eta * 0.75, 0.75 + eta),
        (Game.zero_sum(product, x0), Alternating(SGD(eta), ("b", "a")), 1, 0.915, 0.85),
        (Game.zero_sum(product, x0), Optimistic(eta, 2.0, 3.0), 1, 1 - 2 * eta * 0.75, 0.95),
        (Game.zero_sum(product, x0), Optimistic(eta, 2.0, 3.0), 2, 0.600, 1.075),
    ):
        x = iterate(optimizer, game, steps).x
        np.testing.assert_allclose([x["a"][-1], x["b"][-1]], [a, b], rtol=1e-14)


def test_layers():
    """Five steps in which the first of two layers has the factor c = 1/4, or the unit λ."""
    says(
        "layers",
        "x ← x + c (Φ(x) - x): the step of the layer is multiplied by c",
        "a parameter group with its own `lr` = c γ; with AdamW its decay is c γ λ θ",
        "an optimizer for each label, such as `optax.sgd(c η)`",
        "x = λ z, and z is what moves: c = λ² for SGD, c = λ for Adam with ε = 0",
    )

    def loss(x):
        return (x["a"] * x["b"] - 1) ** 2 + x["b"] ** 2

    def layerwise(optimizer, c):
        x = iterate(Layerwise(optimizer, {"a": c}), problem, 5).x
        return [float(x[key][-1]) for key in "ab"]

    def run(rule, loss, x):
        """Five steps of an optax transformation."""
        state = rule.init(x)
        for _ in range(5):
            updates, state = rule.update(jax.grad(loss)(x), state, x)
            x = optax.apply_updates(x, updates)
        return [float(x[key]) for key in "ab"]

    start = {"a": jnp.array(1.0), "b": jnp.array(2.0)}
    problem = Problem(loss, start, name="two layers")
    labels, sgd, adam = {"a": "a", "b": "b"}, SGD(ETA), Adam(ETA, eps=0.0)
    rates = {"a": 0.25 * ETA, "b": ETA}
    for optimizer, rule in (
        (sgd, optax.sgd),
        (AdamW(ETA, weight_decay=0.1), lambda rate: optax.adamw(rate, weight_decay=0.1)),
    ):
        groups = optax.multi_transform({key: rule(rates[key]) for key in "ab"}, labels)
        np.testing.assert_allclose(layerwise(optimizer, 0.25), run(groups, loss, start), rtol=1e-12)
    for optimizer, rule, c in ((sgd, optax.sgd(ETA), 0.25), (adam, optax.adam(ETA, eps=0.0), 0.5)):
        z = run(
            rule, lambda z: loss({"a": 0.5 * z["a"], "b": z["b"]}), start | {"a": jnp.array(2.0)}
        )
        np.testing.assert_allclose(layerwise(optimizer, c), [0.5 * z[0], z[1]], rtol=1e-12)


def test_noise():
    """Moments of many gradients at one time step, and the variances that the flows must have."""
    says(
        "noise",
        "g + σ ξ; h σ² is held, so that `refine(n)` has √n σ",
        "dX = -∇f dt + √η σ dW with σ held as η → 0",
        "dX = -∇f dt + √(2T) dW with the density e^(-f/T): T = h σ²/2",
        "the variance η/(1+k)^γ in step k = 0, 1, ...: it falls",
        "`DataLoader(shuffle=True)`: every example once in each epoch",
    )
    noisy = Noisy(SGD(0.1), sigma=0.5)
    assert float(noisy.refine(4).sigma) == pytest.approx(1.0)
    parabola = problems.quadratic([1.0])
    variance = float(analysis.stationary(noisy, parabola).flow.cov[0, 0])
    assert variance == pytest.approx(0.1 * 0.5**2 / 2)  # of dX = -X dt + √η σ dW
    sampler = Langevin(SGD(0.1), temperature=variance)  # the density e^(-x²/2T) has the variance T
    assert float(sampler.sigma) == pytest.approx(0.5)

    rule, zeros = optax.add_noise(0.3, 0.55, 0), jnp.zeros(200_000)
    state = rule.init(zeros)
    for k in range(3):
        updates, state = rule.update(zeros, state)
        expected = 0.3 / (1 + k) ** 0.55
        error = expected * (2 / zeros.size) ** 0.5
        assert float(jnp.asarray(updates).var()) == pytest.approx(expected, abs=4 * error)

    data = jnp.arange(6.0)  # with η = 1 each step jumps to the mean of its batch
    to_mean = Problem(lambda x, a: ((x - a) ** 2).mean() / 2, 0.0, data=data, name="mean")
    batches = iterate(Minibatch(SGD(1.0), 2, replace=False), to_mean, 6).x[1:].reshape(2, 3)
    np.testing.assert_allclose(batches.sum(axis=1), data.sum() / 2)


def test_spectral_norm():
    says(
        "spectral norm",
        "σ = the largest singular value, or k steps of the power iteration, with all derivatives",
        "σ = u·Wv: one step per forward pass from the last u; u and v are constant, ∇σ = uvᵀ",
        "λ/2 Σ σ(W)² is added to the loss",
        "`norm(W, 2)` is σ(W), and `norm(W)` is √(Σ Wᵢⱼ²) >= σ(W)",
    )
    W = np.array([[3.0, 1.0], [0.5, -1.0]])
    u = np.array([1.0, 0.0])
    for _ in range(40):
        v = W.T @ u / np.linalg.norm(W.T @ u)
        u = W @ v / np.linalg.norm(W @ v)
        slope = np.outer(u, v)
    for iterations in (None, 40):
        value, exact = jax.value_and_grad(problems.spectral_norm)(W, iterations)
        np.testing.assert_allclose([value, np.linalg.norm(W, 2)], u @ W @ v, rtol=1e-14)
        np.testing.assert_allclose(exact, slope, atol=1e-14)
    assert np.linalg.norm(W) == np.sqrt((W**2).sum()) > np.linalg.norm(W, 2)
    free, penalised = (
        problems.digits_network(*kind, examples=10) for kind in (("none",), ("spectral", 0.5))
    )
    norms = [np.linalg.norm(layer["w"], 2) for layer in free.x0.values()]
    difference = float(penalised.loss(free.start()) - free.loss(free.start()))
    assert difference == pytest.approx(0.5 / 2 * np.sum(np.square(norms)), rel=1e-12)


def test_margins():
    """What stands for cos θ_y, and the loss of one triplet."""
    says(
        "margins",
        "s (cos θ_y - m) for the own class y, s cos θ_c for the others",
        "s cos(θ_y + m): the margin is an angle",
        "‖h‖ cos(k θ_y) with a whole number k: the angle is multiplied",
        "max(0, ‖a - p‖² - ‖a - n‖² + α) for unit vectors: twice that with cosines",
    )
    number, angle = jnp.asarray, np.linspace(0.1, 1.5, 8)  # below π - m and π/2

    def of(kind, m):
        return LOSSES[kind](None, None, None, s=number(4.0), m=number(m))

    for kind, of_own in (
        ("am", np.cos(angle) - 0.3),
        ("arc", np.cos(angle + 0.3)),
        ("angular", np.cos(2 * angle)),
    ):
        np.testing.assert_allclose(of(kind, 0.3).of_own(number(np.cos(angle))), of_own, rtol=1e-12)
    a, p, n = np.array([[1.0, 0.0], [0.6, 0.8], [0.8, -0.6]])
    found = of("triplet", 0.5 / 2).of_cosines(number([a @ p]), number([[a @ n]]))
    expected = max(0, ((a - p) ** 2).sum() - ((a - n) ** 2).sum() + 0.5)
    assert 2 * found[0] == pytest.approx(expected) and expected > 0
