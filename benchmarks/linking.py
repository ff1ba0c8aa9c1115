"""The slopes of half-times over the number of mentions, and accuracies, of entity linking.

    python benchmarks/linking.py --keys 3

Each row has the mean over the keys and, in parentheses, the smallest and the largest value. The
slope is that of `analysis.half_times`, the ratio that of the median half-times of rare entities (at
most 20 mentions) and frequent ones (at least 80). "t·contrast" is the slope of half-time times
m·(m - m'), of the mean contexts m of an entity and of its namesake, in whose proportion its margin
grows at the start: -1 in theory. Accuracy and macro-averaged F1 are those of mentions that were not
learned from, where entities are as frequent as in the data and where all are equally frequent.
"""

import argparse

import jax
import numpy as np

from dynopt import SGD, Adam, Momentum, RMSprop, Signum, analysis, iterate
from dynopt.problems import Problem, entity_linking

# Imbalance, what is learned, mentions, and for each optimizer its steps and how often one is saved.
CASES = [
    (
        ("names", "entities", 3200),
        [
            (SGD(4.0), 4000, 4),
            (Momentum(0.4), 4000, 4),
            (RMSprop(0.02), 300, 1),
            (Signum(0.01), 300, 1),
            (Adam(0.03), 300, 1),
        ],
    ),
    (("entities", "entities", 4096), [(SGD(20.0), 4000, 4), (Adam(0.03), 1000, 1)]),
    (("entities", "all", 2048), [(SGD(4.0), 2000, 1), (Adam(0.01), 2000, 1)]),
]

jax.config.update("jax_enable_x64", True)


def contrast(problem: Problem) -> np.ndarray:
    """m·(m - m'), with m the mean context of an entity and m' that of its namesake."""
    loss = problem.loss
    query = np.asarray(loss.fixed["word"])[np.asarray(loss.data[0])].mean(1)
    entity = np.asarray(loss.groups(loss.data))
    mean = np.stack([query[entity == k].mean(0) for k in range(entity.max() + 1)])
    return (mean * (mean - mean[np.arange(len(mean)) ^ 1])).sum(1)


def row(optimizer, steps: int, every: int, problem: Problem, theory: bool) -> list[float]:
    run = iterate(optimizer, problem, steps, save_every=every, throw=False)
    times = analysis.half_times(run)
    rare, frequent = times.count <= 20, times.count >= 80
    ratio = np.nanmedian(times.steps[rare]) / np.nanmedian(times.steps[frequent])
    corrected = np.nan
    if theory and not times.unreached:
        scaled = np.log(times.steps * contrast(problem))
        corrected = np.polyfit(np.log(times.count), scaled, 1)[0]
    numbers = [times.slope, times.unreached, ratio, corrected]
    for data in (problem.loss.unseen, problem.loss.uniform):
        linked = analysis.linking(problem, run, data)
        numbers += [linked.accuracy, linked.macro_f1]
    return numbers


def prior(problem: Problem) -> list[float]:
    both = [analysis.linking(problem, data=d) for d in (problem.loss.unseen, problem.loss.uniform)]
    accuracies = [(one.prior_accuracy, one.prior_macro_f1) for one in both]
    return [np.nan] * 4 + [number for pair in accuracies for number in pair]


def cell(values: np.ndarray) -> str:
    if np.isnan(values).all():
        return ""
    return f"{np.nanmean(values):.3g} ({np.nanmin(values):.3g} … {np.nanmax(values):.3g})"


def main() -> None:
    parser = argparse.ArgumentParser(description="Print the tables of entity linking.")
    parser.add_argument("--keys", type=int, default=3, help="the number of knowledge bases")
    keys = range(parser.parse_args().keys)
    for (imbalance, learn, mentions), runs in CASES:
        made = [entity_linking(imbalance, learn, mentions, key=key) for key in keys]
        print(f"\n{made[0].name}, {mentions} mentions\n")
        print("| optimizer | slope | unreached | rare / frequent | t·contrast ", end="")
        print("| accuracy | F1 | accuracy, uniform | F1, uniform |\n" + "|---" * 9 + "|")
        theory = made[0].name == "entity_linking"
        rows = {
            f"{one.name}({float(one.learning_rate):g})": [row(one, *how, p, theory) for p in made]
            for one, *how in runs
        }
        for name, numbers in {
            "the entity with most mentions": [prior(p) for p in made],
            **rows,
        }.items():
            cells = " | ".join(cell(column) for column in np.array(numbers, float).T)
            print(f"| {name} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
