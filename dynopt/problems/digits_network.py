"""A network that reads handwritten digits, trained under constraints that keep it robust."""

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..checks import nonnegative, positive, whole_number
from ..errors import InvalidValue, unknown_name
from .datasets import from_scikit_learn
from .layers import affine
from .over_data import with_dtype_of
from .problem import Problem, source_in_docstring
from .spectral import spectral_norm

TRAINING = 1000  # examples, at most; the others are unseen
# Each activation with the variance of the weights of the start, in 1/(units of the layer before).
ACTIVATIONS: dict[str, tuple[Callable, int]] = {"tanh": (jnp.tanh, 1), "relu": (jax.nn.relu, 2)}


class DigitsLoss(eqx.Module):
    """Mean of ℓ = log Σ_c exp(z_c) - z_y over examples of the label y, with the scores z = net(a).

    - `unseen`: features and labels that are not trained on.
    - `activation`: a function of slopes of at most 1.
    """

    unseen: tuple[Float[Array, "n pixels"], Int[Array, " n"]]
    activation: Callable = eqx.field(static=True)

    def __call__(self, x, data):
        return self.each(x, data).mean()

    def layers(self, x) -> list:
        """The layers of the network at a position, in their order."""
        return [x[name] for name in sorted(x)]

    def scores(self, x, features) -> Array:
        """The score of each class, shape `(n, classes)`."""
        *hidden, last = self.layers(x)
        for layer in hidden:
            features = self.activation(affine(features, layer))
        return affine(features, last)

    def each(self, x, data) -> Array:
        """The loss ℓ of each example, without what is added to their mean, shape `(n,)`."""
        features, labels = data
        scores = self.scores(x, features)
        of_label = jax.nn.one_hot(labels, scores.shape[1], dtype=scores.dtype)
        return jax.nn.logsumexp(scores, axis=1) - (of_label * scores).sum(1)

    def lipschitz(self, x) -> Array:
        """The product of the spectral norms: scores move by at most so much per |change of a|."""
        return jnp.prod(jnp.stack([spectral_norm(layer["w"]) for layer in self.layers(x)]))


class RidgeLoss(DigitsLoss):
    """The loss plus λ/2 Σ|W|².

    - `strength`: λ.
    """

    strength: Float[Array, ""]

    def __call__(self, x, data):
        squares = [(layer["w"] ** 2).sum() for layer in self.layers(x)]
        return super().__call__(x, data) + with_dtype_of(x, self.strength) / 2 * sum(squares)


class SpectralLoss(DigitsLoss):
    """The loss plus λ/2 Σ σ(W)².

    - `strength`: λ.
    """

    strength: Float[Array, ""]

    def __call__(self, x, data):
        squares = [spectral_norm(layer["w"]) ** 2 for layer in self.layers(x)]
        return super().__call__(x, data) + with_dtype_of(x, self.strength) / 2 * sum(squares)


class NormalisedLoss(DigitsLoss):
    """The loss of a network whose weights are sW/σ(W).

    - `strength`: s, the spectral norm of each layer.
    """

    strength: Float[Array, ""]

    def layers(self, x) -> list:
        s = with_dtype_of(x, self.strength)
        return [
            layer | {"w": layer["w"] * (s / spectral_norm(layer["w"]))}
            for layer in super().layers(x)
        ]


class GradientLoss(DigitsLoss):
    """The loss plus λ times the mean of |∇ₐℓ|².

    - `strength`: λ.
    """

    strength: Float[Array, ""]

    def __call__(self, x, data):
        features, labels = data
        slopes = jax.grad(lambda a: self.each(x, (a, labels)).sum())(features)
        penalty = (slopes**2).sum(1).mean()
        return super().__call__(x, data) + with_dtype_of(x, self.strength) * penalty


# Each constraint with its loss and its strength by default.
CONSTRAINTS: dict[str, tuple[Callable, float]] = {
    "ridge": (RidgeLoss, 0.01),
    "spectral": (SpectralLoss, 0.03),
    "normalised": (NormalisedLoss, 2.0),
    "gradient": (GradientLoss, 1.0),
}


def digits_network(
    constraint: str = "none",
    strength: Any = None,
    width: Any = 32,
    activation: str = "tanh",
    examples: Any = 1000,
    key: Any = 0,
) -> Problem:
    """A network with two hidden layers that reads handwritten digits, and may be kept robust.

        f = 1/n Σᵢ ℓ(aᵢ, yᵢ),   ℓ(a, y) = log Σ_c exp(z_c) - z_y,
        z = φ(φ(a W₁ + b₁) W₂ + b₂) W₃ + b₃

    The features a are the 64 pixels of an image, from 0 to 1, and y is its digit. With the spectral
    norm σ(W), the largest singular value, the product L = Π σ(Wₗ) bounds how far the scores move:
    |z(a) - z(a′)| <= L |a - a′|, because no slope of φ exceeds 1.

    | `constraint`  | f                              | `strength` by default |
    |---------------|--------------------------------|-----------------------|
    | "none"        | as above                       | has none              |
    | "ridge"       | plus λ/2 Σₗ\\|Wₗ\\|²           | λ = 0.01              |
    | "spectral"    | plus λ/2 Σₗ σ(Wₗ)²             | λ = 0.03              |
    | "normalised"  | with s Wₗ/σ(Wₗ) in place of Wₗ | s = 2                 |
    | "gradient"    | plus λ/n Σᵢ \\|∇ₐℓ(aᵢ, yᵢ)\\|² | λ = 1                 |

    Domain: everywhere but at W = 0, where σ has no slope; f is smooth with "tanh", but for points
    where the two largest singular values are equal. It is not convex. Minimizers: not known;
    f >= 0.

    - `constraint`: one of the table, "none" by default; the name of the problem ends with it.
    - `strength`: λ or s. Another value compiles nothing anew.
    - `width`: units of each hidden layer, 32 by default.
    - `activation`: φ, "tanh" (default) or "relu".
    - `examples`: n, from 1 to 1000 (default). The images are in a random order that is always the
      same. The first n of them are trained on; the last 797 never are.
    - `key`: a whole number, 0 by default, from which the start is drawn: normal weights of variance
      1/(units of the layer before), or twice that with "relu", and biases of 0.

    The position is a dict of layers, `{"layer1": {"b": (32,), "w": (64, 32)}, ...}`, 3466 numbers.
    The loss has the functions `scores(x, features)`, `each(x, data)` and `lipschitz(x)`, which is
    L, and the images `unseen`; `analysis.robustness` attacks these.

    >>> problem = digits_network("spectral")
    >>> problem
    Problem(digits_network_spectral, dim=3466)
    >>> problem.loss.unseen[0].shape
    (797, 64)

    **Raises:** `EnvironmentProblem` without scikit-learn; `UnknownName`, `InvalidType` and
    `InvalidValue` for arguments that are not allowed.

    Source: made for this library. The images are those of E. Alpaydin and C. Kaynak, "Optical
    recognition of handwritten digits" (1998), UCI machine learning repository. On the penalty, Y.
    Yoshida and T. Miyato, "Spectral norm regularization for improving the generalizability of deep
    learning" (2017); on the normalisation, T. Miyato, T. Kataoka, M. Koyama and Y. Yoshida,
    "Spectral normalization for generative adversarial networks" (2018).
    """
    if activation not in list(ACTIVATIONS):
        raise unknown_name("activation", str(activation), ACTIVATIONS)
    function, gain = ACTIVATIONS[activation]
    examples = whole_number("examples", examples, least=1, most=TRAINING, like=1000)
    features, labels = _images()
    data = features[:examples], labels[:examples]
    unseen = jnp.asarray(features[TRAINING:], float), jnp.asarray(labels[TRAINING:])
    name = "digits_network" if constraint == "none" else f"digits_network_{constraint}"
    return Problem(
        _loss(constraint, strength, unseen, function),
        _start(whole_number("width", width, least=1, like=32), gain, key),
        data=data,
        name=name,
        source=source_in_docstring(digits_network),
    )


def _loss(constraint: str, strength: Any, unseen, activation: Callable) -> DigitsLoss:
    if constraint == "none":
        if strength is not None:
            raise InvalidValue(
                f"`strength` is {strength}, but the constraint 'none' has no strength; pass for "
                "example constraint='ridge'."
            )
        return DigitsLoss(unseen, activation)
    if constraint not in list(CONSTRAINTS):
        raise unknown_name("constraint", str(constraint), ("none", *CONSTRAINTS))
    loss, usual = CONSTRAINTS[constraint]
    check = positive if constraint == "normalised" else nonnegative
    strength = check("strength", usual if strength is None else strength)
    return loss(unseen, activation, jnp.asarray(strength, float))


@cache
def _images() -> tuple[np.ndarray, np.ndarray]:
    """All images as rows of pixels from 0 to 1, and their digits, in a random order."""
    pixels, digits = from_scikit_learn("digits", instead="")
    order = np.random.RandomState(0).permutation(len(digits))
    images = pixels[order] / 16, digits[order]
    for array in images:
        array.flags.writeable = False
    return images


def _start(width: int, gain: int, key: Any) -> dict[str, Any]:
    """Normal weights of the variance gain/(units of the layer before), and no bias."""
    draw = np.random.RandomState(whole_number("key", key, least=0, most=2**32 - 1)).normal
    return {
        f"layer{i + 1}": {
            "w": draw(size=sizes) * np.sqrt(gain / sizes[0]),
            "b": np.zeros(sizes[1]),
        }
        for i, sizes in enumerate(pairwise((64, width, width, 10)))
    }
