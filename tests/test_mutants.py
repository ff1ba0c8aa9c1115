"""The list of mutants fits the package: `python tests/mutants/run.py` shows that they are killed."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MUTANTS = tomllib.loads((ROOT / "tests/mutants/mutants.toml").read_text("utf-8"))["mutant"]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant["name"])
def test_a_mutant_changes_one_place_and_names_tests_that_exist(mutant):
    assert (ROOT / mutant["file"]).read_text("utf-8").count(mutant["before"]) == 1
    assert mutant["after"] != mutant["before"]
    for test in mutant["killed_by"]:
        file, *names = test.split("::")
        text = (ROOT / file).read_text("utf-8")
        assert all(f"def {name.partition('[')[0]}(" in text for name in names), test


def test_thirty_mutants_have_different_names():
    assert len({mutant["name"] for mutant in MUTANTS}) == len(MUTANTS) >= 30
