"""Print the numbers from the literature that the tests compute again: `python literature.py`."""

import sys
from pathlib import Path

import jax
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from literature import CLAIMS  # noqa: E402

COLUMNS = "{:>5} {:>11} {:>11}  {}"


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    print(COLUMNS.format("row", "expected", "got", "what (source)"))
    for row, claim in enumerate(tqdm(CLAIMS.values(), disable=None), 1):
        is_bound = claim.expected == float("inf")
        expected = f"> {claim.low:.5g}" if is_bound else f"{claim.expected:.5g}"
        got = f"{claim.compute():.5g}"
        print(COLUMNS.format(row, expected, got, f"{claim.name} ({claim.source})"), flush=True)


if __name__ == "__main__":
    main()
