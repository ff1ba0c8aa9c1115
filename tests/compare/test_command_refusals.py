"""What the command refuses before anything is computed, in one sentence with value and remedy."""

from pathlib import Path

import pytest

from dynopt.compare import measurements
from dynopt.compare.main import main

MEASURE = measurements.measure


@pytest.fixture(autouse=True)
def in_an_empty_folder_where_nothing_is_computed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(measurements, "measure", lambda *_: pytest.fail("it was not refused"))


@pytest.fixture
def refusal(capsys):
    """The exit code and the one sentence."""

    def run(*arguments):
        code = main(list(arguments))
        printed = capsys.readouterr()
        assert printed.out == ""
        (sentence,) = printed.err.splitlines()
        assert (
            sentence.startswith("dynopt: ")
            and sentence.endswith(".")
            and "Traceback" not in sentence
        )
        assert sentence.isprintable() and len(sentence) < 600
        return code, sentence.removeprefix("dynopt: ")

    return run


# Options


@pytest.mark.parametrize(
    "typed, says",
    [
        (
            "--stpes 5",
            "no option '--stpes'; did you mean --steps or --style? --help shows them all.",
        ),
        ("--st 5", "no option '--st'"),
        ("--problems booth", "did you mean --problem?"),
        ("--lr 0.1", "did you mean --learning-rate?"),
        ("--steps 5 --steps 6", "`--steps` is given twice; give it once, lists with commas."),
        ("--quiet --quiet", "`--quiet` is given twice"),
        ("--steps", "`--steps` wants a value after it; --help shows an example."),
        ("--steps --quiet", "`--steps` wants a value"),
        ("--quiet=yes", "`--quiet` takes no value, got 'yes'; write --quiet alone."),
        ("booth", "'booth' belongs to no option; write lists with commas and no spaces"),
        ("--x0 -1 2", "'2' belongs to no option"),
        ("--json", "`--json` belongs to --list; write --list --json."),
        ("-q", "no option '-q'; --help shows them all."),
        ("-steps 5", "no option '-steps'; did you mean --steps or --style?"),
        ("-1", "'-1' belongs to no option"),
        ("--", "no option '--'"),
        ("--steps=--", "must be a whole number from 1 to 100000, got '--'"),
    ],
)
def test_what_is_no_option(refusal, typed, says):
    code, sentence = refusal(*typed.split())
    assert code == 2 and says in sentence


@pytest.mark.parametrize(
    "option, value, says",
    [
        ("--learning-rate", "nan", "`--learning-rate` must be a number, got 'nan'; write "),
        ("--learning-rate", "inf", "must be a number, got 'inf'"),
        ("--learning-rate", "1_000", "must be a number, got '1_000'"),
        ("--learning-rate", "٠.١", "must be a number"),
        ("--learning-rate", "0x1", "must be a number"),
        ("--learning-rate", "1e999", "must be a number below 1.8e308, got '1e999'"),
        ("--learning-rate", "0", "`--learning-rate` must be positive, got '0'"),
        ("--learning-rate", "-0.1", "must be positive, got '-0.1'"),
        ("--learning-rate", "", "must be a number, got ''"),
        ("--steps", "10.5", "`--steps` must be a whole number from 1 to 100000, got '10.5'; write for example 100 or 1e3."),
        ("--steps", "0", "from 1 to 100000, got '0'"),
        ("--steps", "-5", "from 1 to 100000, got '-5'"),
        ("--steps", "1e12", "from 1 to 100000, got '1e12'"),
        ("--steps", "many", "`--steps` must be a whole number from 1 to 100000, got 'many'"),
        ("--dpi", "5", "`--dpi` must be from 20 to 600, got '5'"),
        ("--dpi", "1e6", "for a finer print write --format pdf."),
        ("--dpi", "96dpi", "`--dpi` must be from 20 to 600, got '96dpi'"),
        ("--x0", "1,two", "`--x0` must be numbers below 1.8e308 with single commas between them, got '1,two'; write for example -1.2,1."),
        ("--x0", "1,,2", "with single commas between them, got '1,,2'"),
        ("--x0", "(1,2)", "got '(1,2)'"),
        ("--x0", "1,nan", "got '1,nan'"),
        ("--x0", "", "got ''"),
        ("--config", "", "`--config` must be the name of a TOML file, got ''; write for example talk.toml."),
        ("--save", "a\nb.npz", "`--save` must be the name of an .npz file, got 'a\\nb.npz'; write for example runs.npz."),
        ("--format", "jpg", "no format 'jpg'; did you mean png? Known: png, svg, pdf, gif, mp4, html."),
        ("--style", "papre", "no style 'papre'; did you mean paper? Known: notebook, paper, slides."),
        ("--optimizers", "sgd,", "`--optimizers` must be names with single commas between them, got 'sgd,'."),
        ("--optimizers", " ", "must be names"),
        ("--problem", "bo\x1b[31moth", "contains a character that cannot be printed, 'bo\\x1b[31moth'"),
        ("--problem", "bo\x00th", "cannot be printed, 'bo\\x00th'"),
        ("--output", "", "`--output` must be a path, got ''"),
        ("--output", "a\x00b", "`--output` must be a path, got 'a\\x00b'"),
        ("--save", "runs.npy", "`--save` must be the name of an .npz file, got 'runs.npy'; write for example runs.npz."),
        ("--set", "adam.b1", "`--set` must be OPTIMIZER.OPTION=NUMBER, got 'adam.b1'; write for example adam.b1=0.8."),
        ("--set", "adam.b1=x", "`--set` gives adam.b1 a value that must be a number, got 'x'; write for example 0.01"),
        ("--set", "sgd.learning_rate=1,adam.eps_root=nan", "`--set` gives adam.eps_root a value that must be a number, got 'nan'"),
        ("--set", "adam.b1=.8,ADAM.b1=.9", "`--set` gives adam.b1 twice; write it once."),
    ],
)  # fmt: skip
def test_what_is_no_value(refusal, option, value, says):
    code, sentence = refusal(f"{option}={value}")
    assert code == 2 and says in sentence


def test_a_name_without_end(refusal):
    code, sentence = refusal("--problem", "x" * 10**6)
    assert code == 2 and "no problem 'xxxxxx" in sentence


# Names


@pytest.mark.parametrize(
    "typed, says",
    [
        (
            "--problem Rosenbrok",
            "no problem 'Rosenbrok'; did you mean rosenbrock? Known: quadratic, ",
        ),
        ("--optimizers adm", "no optimizer 'adm'; did you mean adam or "),
        ("--figures path", "no figure 'path'; did you mean paths? Known: paths, loss, "),
        ("--set adma.b1=0.8", "no optimizer 'adma'; did you mean adam or "),
        (
            "--optimizers sgd --set adam.b1=0.8",
            "`--set` names adam, which is not one of the --optimizers sgd; add it there.",
        ),
        ("--set adam.beta1=0.8", "adam: no option of Adam 'beta1'; did you mean b1?"),
        ("--set sgd.b2=0.8", "sgd: no option of SGD 'b2'"),
        ("--set adam.b1=1", "adam: `b1` is 1, which is outside [0, 1)"),
        ("--set adam.b1=true", "adam: `b1` must be a"),
        ("--set rmsprop.decay=-0.5", "rmsprop: `decay` is -0.5, which is outside [0, 1)"),
        ("--set adam.learning_rate=0", "adam: `learning_rate` is 0: nothing would move"),
        (
            "--set rmsprop.bias_correction=0.5",
            "`rmsprop.bias_correction` must be true or false, got 0.5; write",
        ),
        (
            "--problem booth --optimizers rmsprop --figures modified",
            "`modified` needs a modified flow of order 2, which rmsprop does not have; add --optimizers sgd.",
        ),
        (
            "--problem booth --optimizers sgd --figures phase",
            "`phase` needs a velocity, which sgd does not have; add --optimizers momentum.",
        ),
        (
            "--problem booth --optimizers sgd --figures stability",
            "`stability` needs a momentum, which sgd does not have; add --optimizers momentum.",
        ),
        (
            "--problem deep_linear --figures basins",
            "`basins` needs two coordinates, but deep_linear has 8; draw --figures loss,convergence.",
        ),
        (
            "--problem booth --format gif",
            "`--format` gif is for an animation; add animation to --figures.",
        ),
        (
            "--format svg",
            "`explorer` and `animation` are not written as svg; write --format svg,html,gif.",
        ),
        (
            "--problem booth --figures explorer --style paper",
            "`--style` and `--dpi` are for pictures, and an explorer is a web page of one look;",
        ),
        (
            "--problem booth --figures explorer --dpi 100",
            "leave them out, or add paths to --figures.",
        ),
        (
            "--problem booth --figures animation --format png",
            "`--format` png is for a still figure; write --format gif.",
        ),
        (
            "--problem booth --figures paths,animation --format gif",
            "`paths` is not written as gif; write --format gif,png.",
        ),
        (
            "--problem booth --figures paths,animation --format svg",
            "`animation` is not written as svg; write --format svg,gif.",
        ),
        (
            "--problem booth --figures paths --format html",
            "`--format` html is for an explorer; add explorer to --figures.",
        ),
        (
            "--problem booth --figures explorer --format html,png",
            "`--format` png is for a still figure; write --format html.",
        ),
        (
            "--problem booth --figures paths,explorer --format png",
            "`explorer` is not written as png; write --format png,html.",
        ),
        (
            "--problem booth --figures explorer --steps 201",
            "`explorer` begins with at most 200 steps, got --steps 201; write --steps 200.",
        ),
        (
            "--problem deep_linear --figures explorer",
            "`explorer` needs two coordinates, but deep_linear has 8; draw --figures loss,convergence.",
        ),
    ],
)
def test_what_names_nothing_or_does_not_fit(refusal, typed, says):
    code, sentence = refusal(*typed.split())
    assert code == 2 and says in sentence


@pytest.mark.parametrize(
    "x0, says",
    [
        ("1", "`x0` has shape (1,) but rosenbrock wants (2,)"),
        ("1,2,3", "`x0` has shape (3,) but rosenbrock wants (2,)"),
        ("1e200,1", "rosenbrock starts where its loss is inf"),
    ],
)
def test_a_start_that_does_not_fit(refusal, x0, says):
    code, sentence = refusal("--problem", "rosenbrock", "--x0", x0)
    assert code == 2 and says in sentence


# Configurations


@pytest.mark.parametrize(
    "text, says",
    [
        (
            "stpes = 5",
            "no option 'stpes' in 'run.toml'; did you mean steps or style? --help shows them all.",
        ),
        (
            "config = 'other.toml'",
            "'run.toml' names another `config`; put all options in one file.",
        ),
        ("steps = 5\nsteps = 6", "'run.toml' is not TOML: "),
        ("steps = ", "'run.toml' is not TOML: "),
        ("learning-rate = 1\nlearning_rate = 1", "'run.toml' gives `learning_rate` twice"),
        ("steps = 10.5", "`steps` in 'run.toml' must be a whole number"),
        ("learning_rate = nan", "`learning_rate` in 'run.toml' must be a number, got 'nan'"),
        ("steps = true", "`steps` in 'run.toml' must be a value, not true; --help shows one."),
        ("quiet = 1", "`quiet` in 'run.toml' must be true or false, got '1'; write quiet = true."),
        (
            "strict = 'yes'",
            "`strict` in 'run.toml' must be true or false, got 'yes'; write strict = true.",
        ),
        ("x0 = []", "`x0` in 'run.toml' is empty, or a part of it is; fill it, or leave it out."),
        ("set = []", "`set` in 'run.toml' is empty, or a part of it is"),
        (
            "[set.adam]",
            "`set` in 'run.toml' is empty, or a part of it is; fill it, or leave it out.",
        ),
        (
            "x0 = [[1, 2]]",
            "`x0` in 'run.toml' holds a list in a list or in a table; write single values.",
        ),
        ("[set.adam]\nb1 = [0.5]", "`set` in 'run.toml' holds a list in a list or in a table"),
        (
            f"steps = {'9' * 5000}",
            "'run.toml' holds a number of thousands of digits or lists without end; write",
        ),
        (
            f"steps = 0x{'f' * 5000}",
            "`steps` in 'run.toml' must be a whole number from 1 to 100000, got '0xfff",
        ),
        (
            f"x0 = {'[' * 5000}",
            "'run.toml' holds a number of thousands of digits or lists without end",
        ),
        ("steps = 1979-05-27", "`steps` in 'run.toml' must be a whole number"),
        (
            "problem = 'mine:loss'",
            "'mine:loss' would run code that a file names; type it: --problem mine:loss.",
        ),
        (
            "[set]\nadam = 3",
            "`set` in 'run.toml' must be OPTIMIZER.OPTION=NUMBER, got 'adam=3'; write for example adam.b1=0.8.",
        ),
        (
            "[set]\nlearning_rate = 0.5\nadam = {b1 = 0.5}",
            "`set` in 'run.toml' must be OPTIMIZER.OPTION=NUMBER, got 'learning_rate=0.5'",
        ),
        ("[set]", "`set` in 'run.toml' is empty"),
        (
            "[set.adam.b1]\nx = 1",
            "`set` in 'run.toml' must be OPTIMIZER.OPTION=NUMBER, got 'adam.b1.x=1'",
        ),
        (
            "steps = [{a = 1}]",
            "`steps` in 'run.toml' must be a value, not a table; only `set` is a table, for example [set.adam] and below it b1 = 0.8.",
        ),
        ("steps = {a = 1}", "`steps` in 'run.toml' must be a value, not a table"),
        (
            "steps = 5 # \xff",
            "'run.toml' is not TOML, as it is not in UTF-8; save it in that encoding.",
        ),
    ],
)
def test_a_configuration_that_cannot_be_meant(refusal, text, says):
    Path("run.toml").write_bytes(text.encode("latin-1"))
    Path("mine.py").write_text("print('this has run')")
    code, sentence = refusal("--config", "run.toml")
    assert code == 2 and says in sentence


def test_a_configuration_that_cannot_be_read(refusal):
    assert refusal("--config", "no.toml") == (
        2,
        "cannot read 'no.toml': No such file or directory; name a TOML file after --config.",
    )
    Path("folder").mkdir()
    assert "Is a directory" in refusal("--config", "folder")[1]
    Path("large.toml").write_bytes(b"#" * (2**20 + 1))
    assert "is larger than a megabyte" in refusal("--config", "large.toml")[1]
    assert "is larger than a megabyte" in refusal("--config", "/dev/zero")[1]


# Problems of one's own


@pytest.mark.parametrize(
    "text, typed, says",
    [
        (None, "mine:loss", "no module 'mine' in this folder or installed; write --problem file:function."),
        ("", "mine:a b", "'mine:a b' is not module:function; write for example --problem mymodule:loss."),
        ("", "mine.py", "'mine.py' is a file; add the name of a function in it, as in --problem mine.py:loss."),
        ("", "../mine:loss", "'../mine:loss' is in another folder; go there, and write --problem mine.py:loss."),
        ("", "sub/mine.py:loss", "is in another folder; go there, and write --problem mine.py:loss."),
        ("", "mine:__import__('os')", "is not module:function"),
        ("def loss(x): return x.sum()", "mine:los", "no function in mine 'los'; did you mean loss?"),
        ("def loss(x): return x.sum()", "mine:loss", "mine:loss is a loss f(x) without a start; give one with --x0, for example --x0 1,1."),
        ("loss = 3", "mine:loss", "mine:loss is '3'; name a loss f(x), or a function that returns a dynopt.Problem."),
        ("def loss(x, y): return x.sum()", "mine:loss", "mine:loss takes other arguments than one; it is called as f(x)."),
        ("def loss(): return 3", "mine:loss", "mine:loss takes no argument and returned '3'; return a dynopt.Problem."),
        ("\n1/0", "mine:loss", "mine:loss raised ZeroDivisionError: division by zero (line 2 of mine.py: 1/0)."),
        ("x = (", "mine:loss", "mine:loss raised SyntaxError: '(' was never closed (mine.py, line 1) (line 1 of mine.py)."),
        ("import nothing_like_it", "mine:loss", "mine:loss raised ModuleNotFoundError: No module named 'nothing_like_it'"),
        ("import sys\nsys.exit(0)", "mine:loss", "mine:loss raised SystemExit: 0 (line 2 of mine.py: sys.exit(0))."),
        ("def loss():\n  raise KeyError('why')", "mine:loss", "mine:loss raised KeyError: 'why' (line 2 of mine.py: raise "),
        ("class Odd(BaseException): pass\nraise Odd('x')", "mine:loss", "mine:loss raised Odd: x (line 2 of mine.py: "),
        ("", "mine", "no problem 'mine'; if it is in your file mine.py, write --problem mine:loss."),
        ("", "mine.f", "no problem 'mine.f'; if it is in your file mine.py, write --problem mine:f."),
        (None, "numpy:foo", "no function in numpy 'foo'"),
        (None, "builtins:input_", "no function in builtins 'input_'; did you mean input or "),
        ("def loss():\n  raise OSError('\x1b[31m\\n')", "mine:loss", "mine:loss raised OSError: "),
    ],
)  # fmt: skip
def test_a_module_that_gives_no_problem(refusal, text, typed, says):
    if text is not None:
        Path("mine.py").write_text(text)
    code, sentence = refusal("--problem", typed)
    assert code == 2 and says in sentence


def test_a_file_that_another_module_hides(refusal):
    Path("random.py").write_text("def loss(x): return (x**2).sum()")
    sentence = "your file random.py has the name of a module that Python has imported; rename it, "
    told = (2, f"{sentence}for example to my_random.py.")
    assert refusal("--problem", "random:loss", "--x0", "1,2") == told
    Path("random.py").rename("my_random.py")
    with pytest.raises(pytest.fail.Exception, match="it was not refused"):
        refusal("--problem", "my_random:loss", "--x0", "1,2")


@pytest.mark.parametrize(
    "body, says",
    [
        ("return x", "must return one number, returned shape (2,)"),
        ("return None", "must return one number, returned None"),
        (
            "return numpy.sin(x).sum()",
            "uses numpy on a traced value on line 3 of mine.py; use jax.numpy instead.",
        ),
        ("return x.sum() if x[0] > 0 else 0.0", "branches on a traced value on line 3 of mine.py"),
        ("return float(x[0])", "turns a traced value into a Python number on line 3 of mine.py"),
        (
            "raise LookupError('lost in the woods')",
            "mine:loss raised LookupError: lost in the woods (line 3 of mine.py: raise",
        ),
        ("return x.sum() * numpy.inf", "starts where its loss is inf"),
        (
            "return jax.numpy.sqrt(x[0] - 1)",
            "starts where its loss is 0 and the norm of its gradient inf",
        ),
    ],
)
@pytest.mark.usefixtures("as_users_see_it")
def test_a_loss_that_cannot_be_used(refusal, body, says):
    Path("mine.py").write_text(f"import numpy, jax\ndef loss(x):\n  {body}\n")
    code, sentence = refusal("--problem", "mine:loss", "--x0", "1,2")
    assert code == 2 and says in sentence


def test_a_loss_that_breaks_while_it_runs_is_blamed_on_its_line(refusal, monkeypatch):
    monkeypatch.setattr(measurements, "measure", MEASURE)
    Path("mine.py").write_text(
        "calls = []\ndef loss(x):\n  calls.append(1)\n  if len(calls) > 3:\n"
        "    raise LookupError('lost')\n  return (x**2).sum()\n"
    )
    code, sentence = refusal(
        *"--problem mine:loss --x0 1,2 --optimizers sgd --steps 5 --figures loss".split()
    )
    assert (
        code == 2
        and "mine:loss raised LookupError: lost (line 5 of mine.py: raise LookupError('lost'))."
        in sentence
    )


@pytest.mark.parametrize(
    ("figure", "x0", "says"),
    [
        (
            "paths",
            "1",
            "`paths` needs two coordinates, but loss has 1; draw --figures loss,convergence.",
        ),
        (
            "modified",
            "1,2,3",
            "`modified` needs two coordinates, but loss has 3; draw --figures loss,convergence.",
        ),
    ],
)
def test_paths_need_a_plane(refusal, figure, x0, says):
    Path("mine.py").write_text("def loss(x): return (x**2).sum()")
    code, sentence = refusal("--problem", "mine:loss", "--x0", x0, "--figures", figure)
    assert code == 2 and says in sentence


@pytest.mark.parametrize(
    "typed, says",
    [
        ("--x0 1,2 --optimizers sgd --figures explorer", "loss cannot be explored: "),
        ("--x0 1 --temperature 0.5 --figures langevin", "`langevin` needs a loss that grows on"),
    ],
)
def test_what_one_of_several_problems_does_not_have_is_known_before_any_runs(refusal, typed, says):
    """No file of the first problem is written."""
    Path("mine.py").write_text(
        "import jax.numpy as jnp\n"
        "def loss(x): return jnp.sort(jnp.tanh(x)) @ jnp.arange(1.0, 1 + x.size)\n"
        "def other(x): return (x**2).sum()"
    )
    code, sentence = refusal("--problem", "mine:other,mine:loss", *typed.split())
    assert code == 2 and says in sentence and not Path("figures").exists()


def test_two_problems_for_the_same_files(refusal):
    Path("mine.py").write_text("def booth(x): return (x**2).sum()")
    code, sentence = refusal("--problem", "booth,mine:booth", "--x0", "1,2")
    assert code == 2 and "booth and mine:booth would be drawn into the same files" in sentence


# Files


def test_the_output_is_a_file(refusal):
    Path("figures").write_text("mine")
    code, sentence = refusal("--problem", "booth")
    assert (
        code == 4
        and "'figures' is a file, where a folder is wanted; choose another place." in sentence
    )
    assert Path("figures").read_text() == "mine"


def test_the_output_cannot_be_made(refusal):
    code, sentence = refusal("--problem", "booth", "--output", "/proc/figures")
    assert (
        code == 4
        and "cannot write '/proc/figures/paths-booth.png': No such file or directory" in sentence
    )


def test_a_folder_or_a_link_stands_in_the_way(refusal):
    Path("figures/paths-booth.png").mkdir(parents=True)
    code, sentence = refusal("--problem", "booth")
    assert code == 4 and "'figures/paths-booth.png' is a folder, where a file is wanted" in sentence
    Path("figures/paths-booth.png").rmdir()
    Path("figures/paths-booth.png").symlink_to("../elsewhere.png")
    code, sentence = refusal("--problem", "booth")
    assert code == 4 and "'figures/paths-booth.png' is a link to elsewhere" in sentence
    assert not Path("elsewhere.png").exists()


def test_the_folder_of_save_is_looked_at_too(refusal):
    code, sentence = refusal("--problem", "booth", "--save", "/proc/runs.npz")
    assert code == 4 and "cannot write '/proc/runs.npz'" in sentence


# Games


@pytest.mark.parametrize(
    "typed, says",
    [
        ("--figures basins", "`basins` needs a loss that is descended, which bilinear does not"),
        (
            "--figures field --optimizers momentum",
            "`field` needs a modified flow of order 2 and no",
        ),
        ("--x0 1,2,3", "`--x0` has 3 numbers, but bilinear has 2 coordinates; give one for each."),
    ],
)
def test_what_a_game_does_not_have_is_refused(refusal, typed, says):
    code, sentence = refusal("--problem", "bilinear", *typed.split())
    assert code == 2 and sentence.startswith(says)
