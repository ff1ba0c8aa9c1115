"""Break the package in one place at a time, and see that a test fails each time.

    python tests/mutants/run.py                     all mutants of mutants.toml
    python tests/mutants/run.py order compare       those whose file or name contains a word

Each mutant is a text that is replaced in a copy of the package. It is killed if the tests that are
listed for it fail; they pass without it, which the first run on the unchanged copy shows.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from tqdm import tqdm

ROOT = Path(__file__).parents[2]
MUTANTS = tomllib.loads(Path(__file__).with_name("mutants.toml").read_text("utf-8"))["mutant"]
FAILED = 1  # the exit code of pytest if a test has failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="parts of names or files; by default all")
    words = parser.parse_args().words
    chosen = [
        mutant
        for mutant in MUTANTS
        if not words or any(word in mutant["name"] or word in mutant["file"] for word in words)
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name in ("dynopt", "tests", "notebooks", "benchmarks", "docs"):
            shutil.copytree(ROOT / name, Path(folder) / name)
        for file in ("pyproject.toml", "README.md", "CONTRIBUTING.md"):
            shutil.copy(ROOT / file, folder)
        killers = sorted({test for mutant in chosen for test in mutant["killed_by"]})
        if run(folder, killers) != 0:
            print("the tests fail on the unchanged package already:", *killers, sep="\n  ")
            return 1
        survivors = [mutant["name"] for mutant in tqdm(chosen) if survives(mutant, folder)]
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} mutants are killed")
    for name in survivors:
        print(f"survives: {name}")
    return int(bool(survivors))


def survives(mutant: dict, folder: str) -> bool:
    """Whether the tests that are listed for a mutant pass, or cannot run, with it."""
    path = Path(folder) / mutant["file"]
    text = path.read_text("utf-8")
    path.write_text(text.replace(mutant["before"], mutant["after"]), "utf-8")
    try:
        return run(folder, mutant["killed_by"]) != FAILED
    finally:
        path.write_text(text, "utf-8")


def run(folder: str, tests: list[str]) -> int:
    """The exit code of pytest."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", *tests]
    environment = os.environ | {"PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True).returncode


if __name__ == "__main__":
    sys.exit(main())
