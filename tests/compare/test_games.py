"""The command on games: names, starts, default figures and the Python that it prints."""

import numpy as np
import pytest

from dynopt import problems
from dynopt.compare import screen
from dynopt.compare.gallery import GAME_RATE
from dynopt.compare.main import main
from dynopt.compare.options import Options
from dynopt.compare.studies import plan

GAME = """
from dynopt import Game

def game():
    losses = {"b": lambda x: -x["a"][0] * x["b"], "a": lambda x: x["a"][1] * x["b"]}
    return Game(losses, {"b": 1.0, "a": [0.5, 0.25]}, name="mine")
"""


@pytest.fixture(autouse=True)
def in_a_folder_with_a_game(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_game.py").write_text(GAME)


def test_games_are_listed_apart_from_losses():
    text = screen.listing(as_json=False)
    assert all(f"  {name} " in text.partition("\ngames\n")[2] for name in problems.games)


def test_a_game_is_drawn_with_its_field_and_one_learning_rate_by_default():
    (study,) = plan(Options(problem=("bilinear",), optimizers=("sgd", "momentum")))
    expected = {"paths", "loss", "race", "convergence", "phase", "field", "overview"}
    assert set(study.figures) == expected
    assert [one["learning_rate"] for one in study.arguments.values()] == [GAME_RATE] * 2
    assert list(study.measured["fields"]) == ["sgd"]


def test_the_optimizers_of_games_run_on_games_from_the_command(capsys):
    names = "sgd,alternating,extragradient,consensus"
    words = f"--problem bilinear --optimizers {names} --set consensus.gamma=0.3 --show-code"
    assert main(words.split()) == 0
    code = capsys.readouterr().out
    assert "from dynopt.optimizers import Alternating, Consensus, Extragradient, SGD" in code
    assert "Alternating(SGD(learning_rate=0.1), players=('a', 'b'))" in code
    assert "Consensus(SGD(learning_rate=0.1), gamma=0.3)" in code
    (study,) = plan(Options(problem=("bilinear",), optimizers=tuple(names.split(","))))
    assert list(study.measured["fields"]) == names.split(",")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--problem booth --optimizers alternating", "alternating is an optimizer of games, and"),
        ("--problem bilinear --optimizers consensus --set consensus.gama=1", "did you mean gamma"),
        ("--problem bilinear --optimizers consensus --set consensus.gamma=-1", "gamma"),
    ],
)
def test_optimizers_of_games_refuse_losses_and_options_that_they_do_not_have(
    capsys, words, message
):
    assert main(words.split()) == 2
    assert message in capsys.readouterr().err


def test_the_numbers_of_a_start_are_those_of_the_sorted_players():
    options = Options(problem=("my_game.py:game",), optimizers=("sgd",), x0=(1.0, 2.0, 3.0))
    (study,) = plan(options)
    assert study.x0 == {"a": [1.0, 2.0], "b": 3.0}
    np.testing.assert_array_equal(study.start, [1, 2, 3])


def test_a_game_of_the_user_is_drawn_and_its_python_runs(capsys):
    words = "--problem my_game.py:game --optimizers sgd --steps 3 --figures loss --x0 1,2,3".split()
    assert main([*words]) == 0
    assert "|g| of map  |g| of flow" in capsys.readouterr().out
    assert main([*words, "--show-code"]) == 0
    code = capsys.readouterr().out
    assert "x0={'a': [1.0, 2.0], 'b': 3.0}" in code and "import my_game" in code
