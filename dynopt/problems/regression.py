"""Convex problems of learning: weights that separate classes, by maximum likelihood."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..checks import is_concrete, nonnegative
from ..errors import InvalidValue
from .datasets import labelled_examples
from .layers import affine
from .problem import Problem, source_in_docstring

# The numbers of points in the clouds differ, because with equal numbers the slope of b would start
# at 0, where Adam divides round-off by round-off.
TWO_CLOUDS, THREE_CLOUDS = (25, 15), (26, 22, 12)


class LogisticLoss(eqx.Module):
    """Mean of log(1 + exp(-sᵢ zᵢ)), plus λ|w|²/2.

    Here zᵢ = w·aᵢ + b, and s is -1 for the label 0 and 1 for the label 1.

    - `penalty`: λ.
    """

    penalty: Float[Array, ""]

    def __call__(self, x, data):
        features, labels = data
        z = affine(features, x)
        sign = 2 * labels.astype(z.dtype) - 1
        return jax.nn.softplus(-sign * z).mean() + _ridge(self.penalty, x["w"])


class SoftmaxLoss(eqx.Module):
    """Mean of log Σ_c exp(z_ic) - z_iy, plus λ|W|²/2.

    Here zᵢ = aᵢ W + b, and y is the label of example i.

    - `penalty`: λ.
    """

    penalty: Float[Array, ""]

    def __call__(self, x, data):
        features, labels = data
        z = affine(features, x)
        z_label = jnp.take_along_axis(z, labels[:, None], axis=1)[:, 0]
        return (jax.nn.logsumexp(z, axis=1) - z_label).mean() + _ridge(self.penalty, x["w"])


def logistic_regression(data: Any = "clouds", penalty=0.01) -> Problem:
    """Two classes and a line between them, with the labels as likely as possible.

        f(w, b) = 1/n Σᵢ log(1 + exp(-sᵢ (w·aᵢ + b))) + λ/2 |w|²,   sᵢ = ±1

    Domain: everywhere. f is convex, with curvatures of at most L = 1/4 mean(1 + |a|²) + λ: gradient
    descent lowers f from any start at learning rates below 2/L. Minimizer: one, if λ > 0; there the
    labels and the probabilities of label 1 have the same mean. Without λ, classes that a line can
    separate have none.

    - `data`: "clouds" (default), 40 points in the plane; "breast_cancer", 569 tumours with 30
      features, from scikit-learn, both standardised; or (features, labels), arrays of shapes
      (n, features) and (n,), where the labels are 0 and 1.
    - `penalty`: λ, by default 0.01.

    The position is a dict, "w" of shape (features,) and "b" a number; in a row of `minimizers` b
    comes first.

    >>> problem = logistic_regression()
    >>> round(float(problem.loss(problem.start())), 6)  # log 2
    0.693147

    **Raises:** `InvalidValue` or `InvalidType` for data that do not fit; `EnvironmentProblem`
    without scikit-learn.

    Source: D. R. Cox, "The regression analysis of binary sequences", Journal of the Royal
    Statistical Society B 20(2) (1958).
    """
    penalty = nonnegative("penalty", penalty)
    features, labels = labelled_examples(data, ("breast_cancer",), sizes=TWO_CLOUDS)
    if labels.max() > 1:
        raise InvalidValue(
            f"`labels` go up to {labels.max()}; pass 0 and 1, or use softmax_regression."
        )
    best = None
    if is_concrete((features, penalty)) and penalty > 0:
        best = _newton(features, labels, float(penalty))
    return Problem(
        LogisticLoss(jnp.asarray(penalty, float)),
        {"w": np.zeros(features.shape[1]), "b": 0.0},
        data=(features, labels),
        name=_name_with_data("logistic_regression", data),
        minimizers=None if best is None else best[0],
        minimum=None if best is None else best[1],
        source=source_in_docstring(logistic_regression),
    )


def softmax_regression(data: Any = "clouds", penalty=0.01) -> Problem:
    """Several classes and a score for each, with the labels as likely as possible.

        f(W, b) = 1/n Σᵢ (log Σ_c exp(z_ic) - z_iy) + λ/2 |W|²

    with zᵢ = aᵢ W + b, and y the label of example i.

    Domain: everywhere. f is convex, with curvatures of at most L = 1/2 mean(1 + |a|²) + λ: gradient
    descent lowers f from any start at learning rates below 2/L. Minimizer: if λ > 0 one, up to the
    same number added to all of b, which changes nothing; gradient descent keeps the sum of b. It is
    not listed in `minimizers`.

    - `data`: "clouds" (default), 60 points of 3 classes in the plane; from scikit-learn "iris"
      (150, 4 features, 3 classes), "wine" (178, 13 features, 3 classes) or "digits" (1797, 64
      pixels, 10 classes), all standardised; or (features, labels), arrays of shapes (n, features)
      and (n,), where the labels are 0 ... classes-1.
    - `penalty`: λ, by default 0.01.

    The position is a dict, "w" of shape (features, classes) and "b" of shape (classes,).

    >>> problem = softmax_regression()
    >>> round(float(problem.loss(problem.start())), 6)  # log 3
    1.098612

    **Raises:** `InvalidValue` or `InvalidType` for data that do not fit; `EnvironmentProblem`
    without scikit-learn.

    Source: D. R. Cox, "Some procedures connected with the logistic qualitative response curve", in
    Research Papers in Statistics: Festschrift for J. Neyman, Wiley (1966).
    """
    penalty = nonnegative("penalty", penalty)
    features, labels = labelled_examples(data, ("iris", "wine", "digits"), sizes=THREE_CLOUDS)
    classes = labels.max() + 1
    return Problem(
        SoftmaxLoss(jnp.asarray(penalty, float)),
        {"w": np.zeros((features.shape[1], classes)), "b": np.zeros(classes)},
        data=(features, labels),
        name=_name_with_data("softmax_regression", data),
        source=source_in_docstring(softmax_regression),
    )


def _name_with_data(problem: str, data: Any) -> str:
    return f"{problem}_{data}" if isinstance(data, str) and data != "clouds" else problem


def _ridge(penalty: Array, w):
    return penalty.astype(w.dtype) / 2 * (w**2).sum()


def _newton(features, labels, penalty: float) -> tuple[np.ndarray, float] | None:
    """The minimizer (b, w) of the logistic loss and the minimum, by a damped Newton's method.

    None if they are out of reach of double precision.
    """
    ones = np.ones(len(features))
    a = np.column_stack([ones, features]).astype(float)  # in the order of a flattened position
    sign, ridge = 2.0 * labels - 1, penalty * (np.arange(a.shape[1]) > 0)

    def f(x):
        return np.logaddexp(0, -sign * (a @ x)).mean() + ridge @ x**2 / 2

    x = np.zeros(a.shape[1])
    for _ in range(50):
        p = (1 + np.tanh(a @ x / 2)) / 2
        gradient = a.T @ (p - labels) / len(a) + ridge * x
        hessian = a.T @ (a * (p * (1 - p))[:, None]) / len(a) + np.diag(ridge)
        if not np.linalg.cond(hessian) < 1e15:
            return None
        step = np.linalg.solve(hessian, gradient)
        while f(x - step) > f(x) * (1 + 1e-14):
            step = step / 2
        x = x - step
        if np.abs(step).max() <= 1e-14 * (1 + np.abs(x).max()):
            return x, float(f(x))
    return None
