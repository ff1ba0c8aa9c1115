"""What constraints do for a network of digits: accuracy under attacks, and certified radii.

    python benchmarks/robustness.py --seeds 3

Networks of 64-32-32-10 units with relu are trained on 1000 digits by Adam(5e-3), 400 full gradients
each, in single precision, from several starts. Accuracies are those on 797 unseen digits, means
over the starts, with the standard deviation in parentheses. Attacks change each pixel by at most ε;
those "in [0, 1]" keep pixels in this range. L bounds the scores, and the radius is the median of
those that L certifies, in the Euclidean norm.
"""

import argparse
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from dynopt import Adam, iterate
from dynopt.analysis import Robustness, robustness
from dynopt.problems import digits_network

TREATMENTS = {
    "none": ("none", None),
    "ridge .01": ("ridge", 0.01),
    "spectral .03": ("spectral", 0.03),
    "normalised s=2": ("normalised", 2.0),
    "normalised s=1": ("normalised", 1.0),
    "gradient 1": ("gradient", 1.0),
}
STEPS, RATE = 400, 5e-3
SIZES = (0.05, 0.1, 0.15)


def measured(constraint: str, strength: float | None, key: int) -> tuple[Robustness, Robustness]:
    """The robustness of one trained network, without bounds of pixels and in [0, 1]."""
    problem = digits_network(constraint, strength, activation="relu", key=key)
    start = jax.tree.map(jnp.float32, problem.start())
    run = iterate(Adam(RATE), problem, STEPS, x0=start, save_every=STEPS)
    attacks = partial(robustness, problem, run, SIZES)
    return attacks(bounds=None), attacks()


def table(seeds: int) -> dict[str, dict[str, np.ndarray]]:
    """For each treatment the columns of the table, one number for each start."""
    rows = {}
    for name, (constraint, strength) in TREATMENTS.items():
        free, inside = zip(
            *(measured(constraint, strength, key) for key in range(seeds)), strict=True
        )
        rows[name] = {
            "clean": [one.clean for one in free],
            "FGSM .05": [one.accuracy[0] for one in free],
            "FGSM .1": [one.accuracy[1] for one in free],
            "PGD .1": [one.pgd[1] for one in free],
            "in [0, 1]: FGSM .1": [one.accuracy[1] for one in inside],
            "FGSM .15": [one.accuracy[2] for one in inside],
            "PGD .15": [one.pgd[2] for one in inside],
            "L": [one.lipschitz for one in free],
            "radius": [one.certified for one in free],
        }
        rows[name] = {column: np.array(values) for column, values in rows[name].items()}
    return rows


def claims(rows: dict[str, dict[str, np.ndarray]]) -> dict[str, tuple[str, bool]]:
    """What the table is said to show: the numbers, and whether it holds."""

    def mean(name, column):
        return float(rows[name][column].mean())

    treated = [name for name in rows if name != "none"]
    ratios = {
        column: min(mean(name, column) for name in treated) / mean("none", column)
        for column in ("FGSM .1", "in [0, 1]: FGSM .1", "FGSM .15")
    }
    radii = mean("spectral .03", "radius") / mean("ridge .01", "radius")
    above = max(mean(name, "PGD .1") - mean(name, "FGSM .1") for name in rows)
    return {
        "each treated one at FGSM .1 / the untreated": (
            f"at least {ratios['FGSM .1']:.2f} (> 2.5); in [0, 1] at least "
            f"{ratios['in [0, 1]: FGSM .1']:.2f}, and {ratios['FGSM .15']:.2f} at FGSM .15",
            ratios["FGSM .1"] > 2.5,
        ),
        "radius of spectral / ridge": (f"{radii:.2f} (> 1.5)", radii > 1.5),
        "PGD - FGSM at .1": (f"at most {above:+.4f} (<= 0)", above <= 0),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Accuracy of networks of digits under attacks, and their certified radii."
    )
    parser.add_argument("--seeds", type=int, default=3, help="from how many starts each is trained")
    rows = table(parser.parse_args().seeds)
    columns = list(rows["none"])
    print(f"{'':14}", *(f"{column:>{max(len(column), 11)}}" for column in columns))
    for name, values in rows.items():
        cells = []
        for column in columns:
            mean, deviation = values[column].mean(), values[column].std()
            digits = 1 if column == "L" else 3
            cell = f"{mean:.{digits}f} ({deviation:.{digits}f})"
            cells.append(f"{cell:>{max(len(column), 11)}}")
        print(f"{name:14}", *cells)
    for claim, (numbers, holds) in claims(rows).items():
        print(f"{claim}: {numbers}{'' if holds else ', does NOT hold'}")


if __name__ == "__main__":
    main()
