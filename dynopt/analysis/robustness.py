"""The robustness of a network: its accuracy under attacks, and radii within which none succeeds."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..checks import accepts, is_concrete
from ..errors import InvalidType, InvalidValue
from ..optimizers import AbstractOptimizer
from ..problems import Problem
from ..problems.arrays import number_array, real_array
from ..problems.over_data import with_dtype_of
from ..problems.problem import must_be_problem
from ..runs.trajectory import Trajectory

EPS = (0.0, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3)
STEPS = 10  # of projected gradient ascent, each a quarter of ε long


class Robustness(eqx.Module):
    """How often a classifier is right about examples, attacked and not.

    - `eps`: the sizes ε of the attacks, in units of a feature, shape `(n,)`.
    - `accuracy`: the share of examples that are classified rightly under the FGSM attack of each
      size; `pgd`: the same under projected gradient ascent.
    - `clean`: the same without an attack.
    - `lipschitz`: the bound L of the scores, |z(a) - z(a′)| <= L |a - a′|; NaN if there is none.
    - `radii`: for each example the certified radius, shape `(examples,)`: no change of its features
      that is shorter, in the Euclidean norm, changes the class. It is 0 if the class is wrong, and
      NaN without a bound. `certified`: their median.
    - `optimizer`: that of the run, or None if a position was given; `problem`: the problem.
    """

    eps: Float[Array, " n"]
    accuracy: Float[Array, " n"]
    pgd: Float[Array, " n"]
    clean: Float[Array, ""]
    lipschitz: Float[Array, ""]
    radii: Float[Array, " examples"]
    optimizer: AbstractOptimizer | None
    problem: Problem

    @property
    def certified(self) -> Float[Array, ""]:
        return jnp.median(self.radii)

    def __repr__(self) -> str:
        who = self.problem.name if self.optimizer is None else f"{self.optimizer} on "
        subject = who if self.optimizer is None else who + self.problem.name
        if not is_concrete((self.eps, self.accuracy, self.radii)) or self.eps.ndim != 1:
            return f"Robustness(of {subject})"
        attacked = f"{float(self.accuracy[-1]):.3g} under FGSM of {float(self.eps[-1]):g}"
        radius = float(self.certified)
        certified = "" if np.isnan(radius) else f", certified radius {radius:.3g}"
        return f"Robustness(of {subject}, accuracy {float(self.clean):.3g}, {attacked}{certified})"


def robustness(
    problem: Problem,
    x: Any = None,
    eps: Any = EPS,
    *,
    data: Any = None,
    bounds: Any = (0.0, 1.0),
) -> Robustness:
    """The accuracy of a classifier on unseen examples under attacks, and its certified radii.

    Its class is the one with the largest score z(a), and none if a score is NaN. Both attacks know
    the network, and change each feature of a by at most ε so that the loss ℓ = log Σ_c exp(z_c) -
    z_y rises. Attacked features stay in the range of features, as images do.

    - FGSM, the fast gradient sign method, takes one step, a + ε sign(∇ₐℓ).
    - Projected gradient ascent (PGD) takes ten steps of ε/4 along the sign of the gradient from a,
      each projected on |a′ - a| <= ε in every feature. It is stronger as a rule, not always.

    What no attack has found may exist. A radius is certified by a bound L of the scores: with the
    margin m = z_y - max over c ≠ y of z_c, no change of a shorter than r = m/(√2 L) in the
    Euclidean norm changes the class, since z_y - z_c changes by at most √2 L |a - a′|. It holds up
    to round-off, and it is a lower bound: most examples bear much larger changes.

    - `x`: a position, by default the start of the problem; or a run, of which the last finite
      position is taken.
    - `eps`: the sizes ε of the attacks, from 0 on; seven from 0 to 0.3 by default.
    - `data`: `(features, labels)` of the shapes `(n, features)` and `(n,)`, by default the unseen
      examples of the problem. The labels are 0 ... classes-1.
    - `bounds`: the range of features, by default pixels from 0 to 1; None for any real numbers.

    The loss of the problem must have a function `scores(x, features)` of shape `(n, classes)`, and
    `unseen` examples unless `data` are given; it may have a `lipschitz(x)`, which is L. Those of
    `problems.digits_network` have all three, and so may one of yours. It may be called inside
    `jax.jit` and `jax.vmap`, where its arrays may be returned.

    **Raises:** `InvalidValue` if the loss has no such function or the examples do not fit;
    `InvalidType` and `InvalidValue` as `Problem.start` does, if `x` is no position of the problem.

    >>> from dynopt import Adam, iterate, problems
    >>> problem = problems.digits_network("normalised", examples=100)
    >>> result = robustness(problem, iterate(Adam(0.01), problem, 50), eps=(0.0, 0.1))
    >>> bool(result.pgd[1] < result.accuracy[1] < result.clean)
    True
    >>> print(f"{result.lipschitz:.4f}")  # s³ with s = 2
    8.0000

    Source: I. Goodfellow, J. Shlens and C. Szegedy, "Explaining and harnessing adversarial
    examples" (2015), on FGSM; A. Madry et al., "Towards deep learning models resistant to
    adversarial attacks" (2018), on PGD; Y. Tsuzuku, I. Sato and M. Sugiyama, "Lipschitz-margin
    training: scalable certification of perturbation invariance for deep neural networks" (2018), on
    the certified radius.
    """
    must_be_problem(problem)
    optimizer = x.optimizer if isinstance(x, Trajectory) else None
    position = problem.start(x.last if isinstance(x, Trajectory) else x)
    examples = _examples(problem, position, data)
    numbers = _sizes(eps), _bounds(bounds, examples[0]), examples
    sizes, bounds, examples = with_dtype_of(position, jax.tree.map(jnp.asarray, numbers))
    measured = _measure(problem.loss, position, examples, sizes, bounds)
    return Robustness(eps=sizes, **measured, optimizer=optimizer, problem=problem)


def _examples(problem: Problem, x: PyTree, data: Any) -> tuple[Any, Any]:
    """The features and the labels to attack.

    **Raises:** `InvalidValue` or `InvalidType` if there are none, or the loss has no such scores.
    """
    scores = getattr(problem.loss, "scores", None)
    if scores is None or not accepts(scores, x, x):
        raise InvalidValue(
            f"robustness needs a loss with a function scores(x, features), which {problem.name} "
            "does not have; use problems.digits_network, or give the class of your loss that "
            "method."
        )
    data = getattr(problem.loss, "unseen", None) if data is None else data
    if data is None:
        raise InvalidValue(
            f"robustness needs examples that {problem.name} is not trained on, but its loss has no "
            "`unseen`; pass data=(features, labels)."
        )
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise InvalidType(
            f"`data` must be (features, labels), got {type(data).__name__}; pass two arrays."
        )
    features, labels = real_array("features", data[0]), number_array("labels", data[1])
    number = len(features) if np.ndim(features) else 0
    if not number or np.shape(labels) != (number,):
        raise InvalidValue(
            f"`features` and `labels` have the shapes {np.shape(features)} and {np.shape(labels)};"
            " pass (n, features) and (n,), one row for each example."
        )
    try:
        shape = jax.eval_shape(scores, x, with_dtype_of(x, jnp.asarray(features))).shape
    except Exception as error:
        raise InvalidValue(
            f"`features` have the shape {np.shape(features)}, which the scores of {problem.name} "
            f"do not take ({type(error).__name__}); pass as many features as it is trained on."
        ) from error
    if len(shape) != 2 or shape[0] != number or shape[1] < 2:
        raise InvalidValue(
            f"the scores of {problem.name} have the shape {shape}, but {number} examples need "
            f"({number}, classes) and two classes; let scores(x, features) return that."
        )
    allowed = np.arange(shape[1])
    if is_concrete(labels) and not np.isin(labels, allowed).all():
        wrong = np.asarray(labels)[~np.isin(labels, allowed)][0]
        raise InvalidValue(
            f"`labels` holds {wrong}, but there are {shape[1]} classes; pass whole numbers from 0 "
            f"to {shape[1] - 1}."
        )
    return features, labels.astype(int)


def _bounds(bounds: Any, features: Any) -> tuple[Any, Any]:
    if bounds is None:
        return -np.inf, np.inf
    pair = real_array("bounds", bounds)
    if np.shape(pair) != (2,):
        raise InvalidValue(f"`bounds` is {bounds!r}; pass (low, high), or None for no bounds.")
    low, high = pair
    if is_concrete((pair, features)) and not (low <= features.min() and features.max() <= high):
        raise InvalidValue(
            f"the features go from {features.min():g} to {features.max():g}, but `bounds` are "
            f"{bounds!r}; pass the range of the features, or bounds=None."
        )
    return low, high


def _sizes(eps: Any) -> Any:
    sizes = real_array("eps", eps)
    if np.ndim(sizes) != 1 or not np.size(sizes) or (is_concrete(sizes) and np.min(sizes) < 0):
        raise InvalidValue(f"`eps` is {eps!r}; pass sizes of at least 0, for example eps=(0, 0.1).")
    return sizes


@eqx.filter_jit
def _measure(
    loss: Any, x: PyTree, examples: tuple[Array, Array], sizes: Array, bounds: Any
) -> dict[str, Array]:
    """The accuracies, the bound of the scores and the radii, by the names of the fields."""
    features, labels = examples

    def of_label(scores):
        return jnp.take_along_axis(scores, labels[:, None], axis=1)[:, 0]

    def accuracy(a):
        scores = loss.scores(x, a)
        is_right = (scores.argmax(1) == labels) & ~jnp.isnan(scores).any(1)
        return is_right.mean(dtype=features.dtype)

    def uphill(a):
        def total(a):
            scores = loss.scores(x, a)
            return (jax.nn.logsumexp(scores, axis=1) - of_label(scores)).sum()

        return jnp.sign(jax.grad(total)(a))

    def attacked(size):
        low, high = (jnp.clip(features + sign * size, *bounds) for sign in (-1, 1))

        def ascend(a, _):
            return jnp.clip(a + size / 4 * uphill(a), low, high), None

        by_pgd, _ = jax.lax.scan(ascend, features, length=STEPS)
        return accuracy(jnp.clip(features + size * first, low, high)), accuracy(by_pgd)

    first = uphill(features)
    under_fgsm, under_pgd = jax.lax.map(attacked, sizes)
    scores = loss.scores(x, features)
    is_label = jax.nn.one_hot(labels, scores.shape[1], dtype=bool)
    margin = of_label(scores) - jnp.where(is_label, -jnp.inf, scores).max(1)
    bound = getattr(loss, "lipschitz", lambda x: jnp.nan)(x)
    radii = jnp.where(margin > 0, margin / (jnp.sqrt(2.0).astype(margin.dtype) * bound), 0 * bound)
    return {
        "accuracy": under_fgsm,
        "pgd": under_pgd,
        "clean": accuracy(features),
        "lipschitz": jnp.asarray(bound, features.dtype),
        "radii": radii,
    }
