"""What teaches sentence similarity: classes with a margin, and comparisons with negatives.

    python benchmarks/similarity.py

100 intents, of which 60 are learned. For each loss the encoder is trained by Adam with equal
numbers of gradients, each of which encodes all 480 training sentences, in single precision. The
table shows the accuracy at 1 on sentences of the 40 unseen intents: the mean over the seeds and its
standard deviation from seed to seed; each seed draws the sentences, the start and the negatives
anew. "fixed" negatives are drawn once, "fresh" ones for each gradient. Below the table stand the
claims with their numbers.
"""

import argparse
from itertools import product
from typing import Any

import equinox as eqx
import jax
import numpy as np

from dynopt import Adam, WithGradient, analysis, iterate
from dynopt.problems import MeanLoss, sentence_similarity

RATE, STEPS, EVERY, INTENTS = 0.03, 200, 50, 100
CLASSES = "softmax", "cosine", "am", "arc", "angular"
COMPARISONS = "pair", "triplet", "contrast"
NEGATIVES = 1, 16, 64
STEPS_SHOWN = 0, 50, 100, 200


class FreshNegatives(eqx.Module):
    """The gradient over the k-th draw of positives and negatives, in place of that over all."""

    loss: MeanLoss
    draws: int = eqx.field(static=True)

    def __call__(self, g, x, k):
        return jax.grad(self.loss.part)(x, k, self.draws)


def all_draws(g: Any) -> Any:
    """The gradient over all draws, which a flow would follow."""
    return g


def accuracies(seed: int, loss: str, negatives: int = 1, fresh: bool = False) -> np.ndarray:
    """The accuracy on unseen intents after each `EVERY` gradients."""
    draws = STEPS if fresh else 1
    problem: Any = sentence_similarity(
        loss, negatives=negatives, draws=draws, intents=INTENTS, key=seed
    )
    start = jax.tree.map(lambda leaf: leaf.astype(np.float32), problem.start())
    optimizer = Adam(RATE)
    if fresh:
        optimizer = WithGradient(optimizer, FreshNegatives(problem.loss, draws), mean=all_draws)
    run = iterate(optimizer, problem, STEPS, x0=start, save_every=EVERY)
    return np.asarray(analysis.retrieval(problem, run).open)


def claims(measured: dict) -> list[tuple[str, float, float]]:
    """What is claimed, by how much it is true, and by how much it should be."""

    def at(step, *entry):
        return measured[entry][:, STEPS_SHOWN.index(step)].mean()

    am, cosine, softmax = (at(200, loss, 1, False) for loss in ("am", "cosine", "softmax"))
    early, few, many = at(50, "am", 1, False), ("triplet", 1, False), ("triplet", 16, False)
    return [
        ("am - triplet with 1 fixed, @50", early - at(50, *few), 0.3),
        ("triplet with 16 - with 1 fixed, @200", at(200, *many) - at(200, *few), 0.3),
        ("0.05 - |am - triplet fresh|, @50", 0.05 - abs(early - at(50, "triplet", 1, True)), 0),
        ("am - cosine, @200", am - cosine, 0.02),
        ("cosine - softmax, @200", cosine - softmax, 0.08),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Accuracy on unseen intents, for each loss.")
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0 on")
    options = parser.parse_args()
    head = "".join(f"@{step}".rjust(15) for step in STEPS_SHOWN)
    print(f"loss      K negatives {head}")
    measured = {}
    for loss in (*CLASSES, *COMPARISONS):
        has_classes = loss in CLASSES
        drawn = [(1, False)] if has_classes else product(NEGATIVES, (False, True))
        for negatives, fresh in drawn:
            rows = [accuracies(seed, loss, negatives, fresh) for seed in range(options.seeds)]
            table = measured[loss, negatives, fresh] = np.array(rows)[
                :, np.array(STEPS_SHOWN) // EVERY
            ]
            kind = "" if has_classes else f"{negatives:2}  {'fresh' if fresh else 'fixed'}"
            cells = [f"{column.mean():8.3f} ±{column.std():.3f}" for column in table.T]
            print(f"{loss:9}{kind:13}{''.join(cells)}", flush=True)
    for claim, value, least in claims(measured):
        print(f"{claim:37}{value:7.3f}, at least {least:g}: {bool(value > least)}")


if __name__ == "__main__":
    main()
