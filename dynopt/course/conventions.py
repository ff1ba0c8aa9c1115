"""Conventions: where authors use other letters for the same thing, or one letter for two things.

At the end of a notebook cell, `conventions["momentum"]` shows a table. The tests compare its
formulas with the optimizers of dynopt, step by step; the formulas for PyTorch are the pseudocode of
its documentation. The letters are those that each author uses.

>>> print(conventions["order"].question)
which error has which order?
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ..errors import unknown_name


class Convention(NamedTuple):
    """One question on which authors differ.

    - `question`: the question.
    - `rows`: who writes, what they write, and how to write the same with dynopt.
    """

    question: str
    rows: tuple[tuple[str, str, str], ...]

    def _repr_markdown_(self) -> str:
        lines = [
            f"**Convention: {self.question}**",
            "",
            "| who | writes | with dynopt |",
            "|---|---|---|",
        ]
        return "\n".join(lines + [f"| {' | '.join(row)} |" for row in self.rows])

    def __repr__(self) -> str:
        return "\n".join(
            [self.question, *(f"  {who}: {writes}  [{here}]" for who, writes, here in self.rows)]
        )


class Conventions(Mapping[str, Convention]):
    """All conventions by their topics.

    **Raises:** `UnknownName` for an unknown topic.
    """

    def __init__(self, by_topic: dict[str, Convention]):
        self._by_topic = MappingProxyType(by_topic)

    def __getitem__(self, topic: str) -> Convention:
        if topic not in self:
            raise unknown_name("convention", str(topic), self._by_topic)
        return self._by_topic[topic]

    def __contains__(self, topic: object) -> bool:
        return isinstance(topic, str) and topic in self._by_topic

    def get(self, topic: str, default: Any = None) -> Any:
        return self._by_topic.get(topic, default)

    def __iter__(self):
        return iter(self._by_topic)

    def __len__(self) -> int:
        return len(self._by_topic)

    def __repr__(self) -> str:
        return f"Conventions({', '.join(self)})"


conventions = Conventions(
    {
        "letters": Convention(
            "which letters stand for which quantities?",
            (
                (
                    "dynopt",
                    "position x, learning rate η, decay rates μ, β, ρ, gradient g, mean square v",
                    "the letters of `help(dynopt)`",
                ),
                (
                    "optax",
                    "`params`, `learning_rate`, `momentum`, `b1`, `b2`, `decay`, `updates`, `nu`",
                    "the same names for hyperparameters",
                ),
                (
                    "PyTorch",
                    "θ (`params`), γ (`lr`), μ (`momentum`), `betas`, α (`alpha`), `square_avg`",
                    "γ = η, α = ρ",
                ),
                (
                    "papers",
                    "θ, α or η, β₁, β₂, m, v (Adam); x, s, β (Nesterov, Su, Boyd and Candès)",
                    "α = η, s = η",
                ),
                (
                    "essays",
                    "θ, γ, λ, G: G ← λ G + (1-λ) g², θ ← θ - γ g/√(G+ε)",
                    "γ = η, λ = ρ, G = v",
                ),
            ),
        ),
        "time": Convention(
            "how much time does one step take?",
            (
                (
                    "dynopt",
                    "t = k h with h = η for SGD, RMSprop, Adam and h = √η for momentum",
                    "`optimizer.h`",
                ),
                (
                    "momentum, if μ is held fixed as η → 0",
                    "x′ = -∇f with t = k η/(1-μ), or x′ = -∇f/(1-μ) with t = k η",
                    "the second: `Memoryless(Momentum(η, μ))`",
                ),
                ("Su, Boyd and Candès", "t = k √s", "`NesterovConvex(s)`"),
            ),
        ),
        "momentum": Convention(
            "is the new gradient damped?",
            (
                ("dynopt", "p ← μ p - h g, x ← x + h p, h = √η: a velocity", "`Momentum(η, μ)`"),
                ("optax.sgd", "m ← μ m + g, x ← x - η m: undamped, m = -p/h", "`Momentum(η, μ)`"),
                (
                    "PyTorch SGD",
                    "b ← μ b + g, θ ← θ - γ b: as optax, with `dampening=0`",
                    "`Momentum(γ, μ)`",
                ),
                (
                    "moving average",
                    "m ← β m + (1-β) g, x ← x - η m: damped, as inside Adam",
                    "`Momentum((1-β) η, β)`",
                ),
            ),
        ),
        "nesterov": Convention(
            "where is the gradient taken?",
            (
                (
                    "Nesterov",
                    "at the extrapolated point x + μ (x - x_before)",
                    "the position of `Nesterov` is that point",
                ),
                (
                    "optax.sgd, PyTorch SGD",
                    "m ← μ m + g, x ← x - η (g + μ m): at x, which is already that point",
                    "`Nesterov(η, μ)`",
                ),
                (
                    "Su, Boyd and Candès",
                    "at yₖ = xₖ + μₖ (xₖ - xₖ₋₁), where μₖ = (k-1)/(k+2) grows: yₖ₊₁ has k/(k+3)",
                    "the position of `NesterovConvex(η)` is y",
                ),
            ),
        ),
        "epsilon": Convention(
            "is ε inside or outside the root?",
            (
                (
                    "optax.rmsprop",
                    "η g/√(v + ε), ε = 1e-8: inside, unless `eps_in_sqrt=False`",
                    "`RMSprop(η, ρ, ε)`",
                ),
                (
                    "PyTorch RMSprop",
                    "γ g/(√v + ε), ε = 1e-8: outside, and α = 0.99 where optax has 0.9",
                    "`Optax(lambda h: optax.rmsprop(h, α, ε, eps_in_sqrt=False), γ)`",
                ),
                ("optax.adam, PyTorch Adam", "η m̂/(√v̂ + ε): outside", "`Adam(η, β₁, β₂, ε)`"),
            ),
        ),
        "bias correction": Convention(
            "is the bias of a running mean that starts at 0 corrected?",
            (
                ("Adam everywhere", "m̂ = m/(1-β₁ᵏ), v̂ = v/(1-β₂ᵏ) after k steps", "`Adam(η)`"),
                (
                    "optax.rmsprop, PyTorch RMSprop",
                    "no: v starts at 0, and the first step is η/√(1-ρ)",
                    "`RMSprop(η)`",
                ),
                (
                    "optax.rmsprop, `bias_correction=True`",
                    "v̂ = v/(1-ρᵏ), and the first step is η",
                    "`RMSprop(η, bias_correction=True)`",
                ),
            ),
        ),
        "weight decay": Convention(
            "is the decay added to the step or to the gradient?",
            (
                (
                    "optax.adamw",
                    "x ← x - η (m̂/(√v̂ + ε) + λ x), λ = 1e-4 by default",
                    "`AdamW(η, weight_decay=λ)`",
                ),
                (
                    "PyTorch AdamW",
                    "θ ← θ - γ λ θ, then Adam's step; λ = 1e-2 by default",
                    "`AdamW(γ, weight_decay=λ)`",
                ),
                (
                    "L2 penalty",
                    "g ← g + λ x before the running means: another optimizer",
                    "a `Problem` with ½ λ ‖x‖² in its loss",
                ),
            ),
        ),
        "length": Convention(
            "how long is one step?",
            (
                ("gradient descent", "η ‖g‖: proportional to the slope", "`SGD(η)`"),
                ("sign descent", "η in every coordinate, whatever g is", "`Signum(η, 0.0)`"),
                (
                    "Muon",
                    "η r in every singular direction, r = √max(1, columns/rows)",
                    "`Muon(η, exact=True)`",
                ),
                (
                    "textbooks",
                    "steepest descent in a norm: η ‖g‖* d, with the dual norm of g",
                    "`course.steepest.measure`",
                ),
            ),
        ),
        "layers": Convention(
            "how does a layer get a learning rate of its own?",
            (
                (
                    "dynopt",
                    "x ← x + c (Φ(x) - x): the step of the layer is multiplied by c",
                    "`Layerwise(optimizer, {'layer1': c})`",
                ),
                (
                    "PyTorch",
                    "a parameter group with its own `lr` = c γ; with AdamW its decay is c γ λ θ",
                    "`Layerwise(optimizer, {'layer1': c})`, with AdamW, too",
                ),
                (
                    "optax.multi_transform",
                    "an optimizer for each label, such as `optax.sgd(c η)`",
                    "`Layerwise(SGD(η), {'layer1': c})`",
                ),
                (
                    "other units",
                    "x = λ z, and z is what moves: c = λ² for SGD, c = λ for Adam with ε = 0",
                    "`analysis.rescaling` does so for all of x",
                ),
            ),
        ),
        "games": Convention(
            "which way does each player move, and what is one step?",
            (
                (
                    "dynopt",
                    "each player lowers its own loss: x′ = -g(x) with g = (∂f₁/∂x₁, ∂f₂/∂x₂)",
                    "`Game({'a': f₁, 'b': f₂}, x0)`",
                ),
                (
                    "Mescheder, Nowozin and Geiger",
                    "each player raises its own payoff: x′ = v(x), v = -g",
                    "`Game({'a': lambda x: -payoff_a(x), ...}, x0)`",
                ),
                (
                    "saddle points",
                    "min over a, max over b of f(a, b)",
                    "`Game.zero_sum(f, x0)`: the first key of `x0` minimizes",
                ),
                (
                    "code of GANs",
                    "one round: the discriminator moves, and then the generator",
                    "`Alternating(SGD(η), ('psi', 'theta'))`: one step is one round",
                ),
                (
                    "optax.optimistic_gradient_descent",
                    "x ← x - η ((α + β) g - β g_before), with g_before = g at first",
                    "`Optimistic(η, α, β)`",
                ),
            ),
        ),
        "spectral norm": Convention(
            "how is σ(W) computed, and what flows through it?",
            (
                (
                    "dynopt",
                    "σ = the largest singular value, or k steps of the power iteration, with all "
                    "derivatives",
                    "`problems.spectral_norm(W, iterations=k)`",
                ),
                (
                    "Miyato et al., PyTorch",
                    "W/σ with σ = u·Wv: one step per forward pass from the last u; u and v are "
                    "constant, ∇σ = uvᵀ",
                    "the gradient is that of `problems.spectral_norm` in the limit; its derivative "
                    "is not",
                ),
                (
                    "Yoshida and Miyato",
                    "no division: λ/2 Σ σ(W)² is added to the loss",
                    "`problems.digits_network('spectral', λ)`",
                ),
                (
                    "numpy and JAX",
                    "`norm(W, 2)` is σ(W), and `norm(W)` is √(Σ Wᵢⱼ²) >= σ(W)",
                    "`problems.spectral_norm(W)`",
                ),
            ),
        ),
        "margins": Convention(
            "where is the margin?",
            (
                (
                    "AM-softmax, CosFace",
                    "s (cos θ_y - m) for the own class y, s cos θ_c for the others",
                    '`problems.sentence_similarity("am", s, m)`',
                ),
                (
                    "ArcFace",
                    "s cos(θ_y + m): the margin is an angle",
                    '`problems.sentence_similarity("arc", s, m)`',
                ),
                (
                    "SphereFace",
                    "‖h‖ cos(k θ_y) with a whole number k: the angle is multiplied",
                    '`problems.sentence_similarity("angular", s)`: k = 2, and s in place of ‖h‖',
                ),
                (
                    "FaceNet",
                    "max(0, ‖a - p‖² - ‖a - n‖² + α) for unit vectors: twice that with cosines",
                    '`problems.sentence_similarity("triplet", m=α/2)`',
                ),
            ),
        ),
        "noise": Convention(
            "what is held when the time step is refined, and what is a temperature?",
            (
                (
                    "dynopt",
                    "g + σ ξ; h σ² is held, so that `refine(n)` has √n σ",
                    "`Noisy(SGD(h), sigma=σ)`",
                ),
                (
                    "Li, Tai and E",
                    "dX = -∇f dt + √η σ dW with σ held as η → 0",
                    "`Noisy(SGD(η), sigma=σ)`, made anew for each η",
                ),
                (
                    "physics",
                    "dX = -∇f dt + √(2T) dW with the density e^(-f/T): T = h σ²/2",
                    "`Langevin(SGD(h), temperature=T)`",
                ),
                (
                    "optax.add_noise",
                    "the variance η/(1+k)^γ in step k = 0, 1, ...: it falls",
                    "none that falls; `Noisy` holds σ in a run",
                ),
                (
                    "PyTorch",
                    "`DataLoader(shuffle=True)`: every example once in each epoch",
                    "`Minibatch(optimizer, b, replace=False)`",
                ),
            ),
        ),
        "order": Convention(
            "which error has which order?",
            (
                (
                    "local error",
                    "of one step from a point of the flow: O(h²) for Euler's method",
                    "`analysis.local_error`",
                ),
                (
                    "global error",
                    "after a fixed time, 1/h steps later: O(h)",
                    "`analysis.compare`, `analysis.order`",
                ),
            ),
        ),
        "methods": Convention(
            "which names does one method have?",
            (
                (
                    "forward Euler: gradient descent, Richardson iteration",
                    "x ← x - h ∇f(x)",
                    "`SGD(h)`",
                ),
                (
                    "backward or implicit Euler: proximal point method",
                    "x ← argmin over z of f(z) + ‖z - x‖²/(2h)",
                    "`Stepped(SGD(h), diffrax.ImplicitEuler())`",
                ),
                (
                    "symplectic or semi-implicit Euler, with friction: heavy ball",
                    "p ← p - h (a p + ∇f(x)), x ← x + h p, with h = √η and a = (1-μ)/h",
                    "`Momentum(η, μ)`",
                ),
                (
                    "leapfrog, Störmer's method, velocity Verlet",
                    "p ← d p - (h/2) ∇f(x), x ← x + h p, p ← d (p - (h/2) ∇f(x)), d = e^(-a h/2)",
                    "`Leapfrog(Momentum(η, μ))`",
                ),
                (
                    "Heun, improved Euler, explicit trapezoidal rule, RK2",
                    "x ← x + (h/2) (F(x) + F(x + h F(x))), with F = -∇f",
                    "`Stepped(SGD(h), diffrax.Heun())`",
                ),
            ),
        ),
    }
)
