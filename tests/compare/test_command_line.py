"""The command line: arguments in, files out."""

import io
import json
import os
import re
import signal
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import jax
import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.image import imread
from PIL import Image

import dynopt
from dynopt import analysis, figures, optimizers, problems
from dynopt.compare import arguments, gallery, kinds, measurements, options, provenance, studies
from dynopt.compare.main import main, paths
from dynopt.compare.options import Options
from dynopt.errors import SolverFailure

TINY = "--problem booth --optimizers sgd --steps 5 --figures loss --format png".split()


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def tell(capsys):
    """Run the command; its exit code, and the lines of both streams."""

    def run(*arguments):
        code = main(list(arguments))
        printed = capsys.readouterr()
        return code, printed.out.splitlines(), printed.err.splitlines()

    return run


def drawn(folder="figures"):
    return sorted(
        str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file()
    )


# What is drawn


def test_one_figure_of_one_problem(tell):
    code, out, err = tell(*TINY)
    assert (code, err) == (0, [])
    assert out[0] == "booth, 5 steps from (-8, 3)"
    heads = "optimizer  h      loss of map  loss of flow  largest error"
    assert out[1].split() == heads.split()
    assert out[2].startswith("sgd") and out[3] == "figures/loss-booth.png"
    assert drawn() == ["loss-booth.png"]


def test_the_table_has_the_numbers_of_the_library(tell):
    _, out, _ = tell(*TINY, "--learning-rate", "0.01")
    comparison = analysis.compare(optimizers.SGD(0.01), problems.booth(), 5)
    numbers = [0.01, comparison.map.loss[-1], comparison.flow.loss[-1], comparison.largest]
    assert out[2].split() == ["sgd", *(f"{float(x):.3g}" for x in numbers)]


def test_the_order_stands_in_the_table_when_it_is_drawn(tell):
    _, out, _ = tell(*[word.replace("loss", "convergence") for word in TINY])
    order = analysis.order(optimizers.SGD(0.028), problems.booth(), 5 * 0.028, 5)
    assert out[2].endswith(f"{order.slope:.3f} ± {order.stderr:.3f}")


def test_without_figures_all_that_fit_are_drawn_and_the_order_is_measured(tell, monkeypatch):
    drawings = only_measuring(monkeypatch)
    tell("--problem", "booth", "--optimizers", "sgd", "--steps", "5")
    without_momentum = set(figures.catalogue) - {"phase", "stability", *gallery.ON_DEMAND}
    assert {figure for figure, _ in drawings} == without_momentum
    for _, (result,) in drawings:
        assert result["orders"] and result["comparisons"]


def test_no_order_is_measured_of_a_large_problem_unless_it_is_asked_for(tell, monkeypatch):
    monkeypatch.setattr(gallery, "LARGE", 1)
    drawings = only_measuring(monkeypatch)
    booth = "--problem booth --optimizers sgd --steps 5".split()
    tell(*booth)
    assert {"loss", "paths"} <= {figure for figure, _ in drawings}
    assert not {figure for figure, _ in drawings} & {"convergence", "overview"}
    assert all(list(result) == ["comparisons"] for _, (result,) in drawings)
    drawings.clear()
    tell(*booth, "--figures", "convergence")
    assert drawings[0][1][0]["orders"]


def test_nothing_is_measured_that_no_figure_shows(tell, monkeypatch):
    drawings = only_measuring(monkeypatch)
    tell(*TINY)
    ((figure, (result,)),) = drawings
    assert figure == "loss" and list(result) == ["comparisons"]


def test_basins_take_ten_times_as_many_steps_and_share_one_flow(tell, monkeypatch):
    drawings = only_measuring(monkeypatch)
    tell(*"--problem booth --optimizers sgd,momentum --steps 5 --figures basins".split())
    ((_, (first, second)),) = drawings
    sgd, momentum = first["basins"]
    assert sgd.steps == momentum.steps == 50 and "basins" not in second
    np.testing.assert_array_equal(sgd.flow, momentum.flow)


def test_learning_rates_are_swept_for_the_first_optimizer_with_a_momentum(tell, monkeypatch):
    drawings = only_measuring(monkeypatch)
    tell(*"--problem booth --optimizers sgd,momentum --steps 5 --figures stability".split())
    ((_, (first, second)),) = drawings
    (sensitivity,) = second["sensitivity"]
    assert "sensitivity" not in first
    assert sensitivity.steps == 5 and sensitivity.option == "momentum"


def test_the_four_optimizers_of_the_gallery_run_by_default_and_any_of_the_catalogue_by_name():
    with jax.enable_x64(True):
        (study,) = studies.plan(Options(problem=("booth",)))
        (all_of_them,) = studies.plan(
            Options(problem=("deep_linear",), optimizers=tuple(optimizers.catalogue))
        )
    assert tuple(study.optimizers) == gallery.OPTIMIZERS == ("sgd", "momentum", "rmsprop", "adam")
    kinds = {name: type(optimizer) for name, optimizer in all_of_them.optimizers.items()}
    assert kinds == optimizers.catalogue


def test_the_bare_command_draws_the_gallery():
    with jax.enable_x64(True):
        planned = studies.plan(Options())
    assert [(study.called,) for study in planned] == [one["problem"] for one in gallery.STUDIES]
    named = {figure for chosen in gallery.STUDIES for figure in chosen["figures"]}
    assert {figure for study in planned for figure in study.figures} == named
    assert named | set(gallery.ON_DEMAND) <= set(measurements.FIGURES)
    assert all("orders" in study.measured for study in planned)
    files = [path for study in planned for path in paths(study, study.figures)]
    assert files[0] == Path("figures/overview-himmelblau.png") and len(set(files)) == len(files)
    assert {file.suffix for file in files} == {".png", ".gif", ".html"}


def test_what_does_not_fit_is_left_out_of_the_gallery():
    with jax.enable_x64(True):
        planned = studies.plan(Options(optimizers=("sgd",), figures=()))
    called = ["himmelblau", "rosenbrock", "quadratic", "dirac_gan"]
    assert [study.called for study in planned] == called
    for study in planned:  # SGD has no velocity for the phase plane, and no momentum to vary
        assert tuple(study.optimizers) == ("sgd",) and "phase" not in study.figures


def test_the_committed_gallery_is_small():
    folder = Path(dynopt.__file__).parents[1] / "figures"
    files = [path for path in folder.rglob("*") if path.is_file()]
    with jax.enable_x64(True):
        planned = studies.plan(Options())
    drawn = {path.name for study in planned for path in paths(study, study.figures)}
    assert {path.name for path in files} == drawn and len(drawn) == 10
    assert sum(path.stat().st_size for path in files) < 3e6


def only_measuring(monkeypatch):
    """Draw nothing; note from which results each figure was to be drawn."""
    drawings = []
    monkeypatch.setattr(
        measurements, "draw", lambda study, figure, results: drawings.append((figure, results))
    )
    return drawings


# The options


def test_several_problems_are_drawn_into_files_of_their_own(tell, own):
    code, out, _ = tell(*[word.replace("booth", "booth,mine:ready") for word in TINY])
    assert code == 0 and drawn() == ["loss-booth.png", "loss-ready.png"]
    assert out[0].startswith("booth, ") and out[5].startswith("ready, ")


def test_names_may_have_capitals_and_hyphens(tell):
    words = {"booth": "Booth", "sgd": "SGD", "loss": "Race", "png": "PNG"}
    assert tell(*[words.get(word, word) for word in TINY])[0] == 0
    assert drawn() == ["race-booth.png"]


def test_one_hyperparameter_of_one_optimizer(tell):
    _, out, _ = tell(*TINY, "--set", "sgd.learning_rate=0.01")
    assert out[2].split()[:2] == ["sgd", "0.01"]


def test_a_flag_of_an_optimizer_is_true_or_false(tell):
    _, out, _ = tell("--show-code", "--problem", "booth", "--set", "rmsprop.bias_correction=true")
    assert any("RMSprop(learning_rate=0.18, bias_correction=True)" in line for line in out)


@pytest.mark.parametrize("x0", [["--x0", "-1.2,1"], ["--x0=-1.2,1"], ["--x0=-12e-1, 1"]])
def test_a_start_may_begin_with_a_minus(tell, x0):
    assert tell(*TINY, *x0)[1][0] == "booth, 5 steps from (-1.2, 1)"


def test_steps_may_be_written_as_a_power(tell):
    _, shown, _ = tell(*TINY[:4], "--steps", "1e1", *TINY[6:], "--show-code")
    assert "    analysis.compare(optimizer, problem, 10, throw=False)" in shown


def test_output_is_made_and_takes_all_formats(tell):
    code, out, _ = tell(*TINY[:8], "--format", "png,svg,pdf", "--output", "deep/down")
    assert code == 0
    assert out[3:6] == [f"deep/down/loss-booth.{kind}" for kind in ("png", "svg", "pdf")]
    assert Path("deep/down/loss-booth.pdf").read_bytes().startswith(b"%PDF")


def test_dpi_and_style_change_the_size(tell):
    tell(*TINY, "--dpi", "55")
    low = imread("figures/loss-booth.png").shape
    tell(*TINY, "--dpi", "110")
    assert abs(imread("figures/loss-booth.png").shape[1] - 2 * low[1]) <= 1
    tell(*TINY, "--style", "paper", "--dpi", "110")
    assert imread("figures/loss-booth.png").shape[1] < 2 * low[1]


def test_an_animation_is_one_file_for_each_optimizer(tell):
    words = "--problem booth --optimizers sgd,momentum --steps 2 --figures animation".split()
    code, out, _ = tell(*words)
    files = ["animation-booth-momentum.gif", "animation-booth-sgd.gif"]
    assert code == 0 and drawn() == files
    _, out, _ = tell(*words, "--format", "gif,mp4", "--show-code")
    assert out[-5:-3] == [
        'picture.save("animation-booth-sgd.gif")',
        'picture.save("animation-booth-sgd.mp4")',
    ]
    assert out[-3] == "picture = figures.animation.draw(comparisons[1])"
    data = Path("figures/animation-booth-sgd.gif").read_bytes()
    command = "dynopt --problem booth --figures animation --optimizers sgd,momentum --steps 2"
    assert provenance.is_written_by_dynopt(Path("figures/animation-booth-sgd.gif"))
    with Image.open("figures/animation-booth-sgd.gif") as image:
        comment = image.info["comment"].decode()
    for fact in (
        f"Command: {command}\n",
        f"Software: dynopt {dynopt.__version__} ",
        "Dtype: float64",
    ):
        assert fact in comment
    assert str(Path.cwd()).encode() not in data
    code, out, _ = tell(*words[:2], "--optimizers", "sgd", *words[4:])
    assert code == 0 and out[3] == "figures/animation-booth.gif"


EXPLORED = "--problem booth --optimizers sgd --steps 5 --x0 -1,2 --learning-rate 0.05".split()


def test_an_explorer_is_one_web_page_that_says_where_it_comes_from(tell):
    code, out, _ = tell(*EXPLORED, "--figures", "explorer")
    path = Path("figures/explorer-booth.html")
    assert code == 0 and out[3] == str(path) and provenance.is_written_by_dynopt(path)
    styled = tell(*EXPLORED, "--figures", "explorer,paths", "--style", "paper", "--show-code")
    assert styled[0] == 0 and styled[1][-2].endswith('draw(comparisons, style="paper")')
    text = path.read_text("utf-8")
    facts = dict(re.findall('<meta name="([a-z]+)" content="(.*)">', text))
    command = "dynopt --problem booth --figures explorer --optimizers sgd"
    assert facts.pop("software").startswith(f"dynopt {dynopt.__version__} (jax ")
    assert facts.pop("viewport") and facts == {
        "generator": f"dynopt {dynopt.__version__}",
        "command": f"{command} --learning-rate 0.05 --steps 5 --x0 -1,2",
        "dtype": "float64",
        "seed": "none: nothing is random",
    }
    expected = dynopt.explore(problems.booth(), optimizers.SGD(0.05), 5, x0=[-1.0, 2.0])
    without = re.sub('<meta name="(?:software|command|dtype|seed)".*\n', "", text)
    assert without == expected.html

    _, out, _ = tell(*EXPLORED, "--figures", "explorer", "--show-code")
    exec(compile("\n".join(out), "shown", "exec"), {})
    assert Path("explorer-booth.html").read_text("utf-8") == expected.html
    assert provenance.is_written_by_dynopt(Path("explorer-booth.html"))


def test_an_explorer_of_a_loss_without_translation_is_refused_and_nothing_is_written(tell):
    Path("mine.py").write_text(
        "import jax.numpy as jnp\ndef loss(x): return jnp.sort(x) @ jnp.array([1.0, 2.0])"
    )
    words = "--problem mine:loss --x0 1,2 --optimizers sgd --steps 2 --figures explorer,loss"
    code, _, err = tell(*words.split())
    assert code == 2 and re.match("dynopt: loss cannot be explored: .*`sort`", err[0])
    assert len(err) == 1 and drawn() == []


def test_every_figure_is_written_in_the_formats_that_suit_it():
    formats = "png", "gif", "html"
    drawn = "paths", "animation", "explorer"
    options = Options(problem=("booth",), optimizers=("sgd",), figures=drawn)
    for typed in ((), formats):
        (study,) = studies.plan(replace(options, format=typed))
        files = [path.name for path in paths(study, study.figures)]
        assert files == ["paths-booth.png", "animation-booth.gif", "explorer-booth.html"]


def test_a_study_of_the_gallery_may_have_optimizers_of_its_own(monkeypatch):
    chosen = {"problem": ("booth",), "figures": ("animation",), "optimizers": ("adam",)}
    usual = {"problem": ("beale",), "figures": ("paths",)}
    monkeypatch.setattr(gallery, "STUDIES", (chosen, usual))
    own, usual = studies.plan(Options())
    assert tuple(own.optimizers) == ("adam",) and tuple(usual.optimizers) == gallery.OPTIMIZERS


def test_a_video_without_its_library_is_refused_before_anything_runs(tell, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    code, _, err = tell(*TINY[:6], "--figures", "animation", "--format", "mp4")
    assert code == 5 and not Path("figures").exists()
    assert 'missing; type pip install "dynopt[video]", or write a gif.' in err[0]


def test_save_keeps_every_run_as_arrays(tell):
    code, out, _ = tell(*TINY, "--save", "runs.npz")
    assert code == 0 and "runs.npz" in out
    comparison = analysis.compare(optimizers.SGD(0.028), problems.booth(), 5)
    with np.load("runs.npz", allow_pickle=False) as saved:
        header = json.loads(str(saved["header"]))
        np.testing.assert_array_equal(saved["booth.sgd.map.x"], comparison.map.x)
        np.testing.assert_array_equal(saved["booth.sgd.flow.loss"], comparison.flow.loss)
        np.testing.assert_array_equal(saved["booth.sgd.map.t"], comparison.map.t)
    assert header["dynopt"] == dynopt.__version__
    assert header["runs"]["booth.sgd.map"]["status"] == "ok"
    assert header["runs"]["booth.sgd.flow"]["optimizer"] == "SGD(learning_rate=0.028)"


def test_a_configuration_stands_for_what_is_typed_and_typing_wins(tell):
    Path("talk.toml").write_text(
        'problem = "booth"\noptimizers = "sgd"\nsteps = 5\n'
        'figures = ["loss"]\nformat = ["png"]\n'
        "learning-rate = 3.0\nx0 = [-1.2, 1]\nquiet = true\n[set.sgd]\nlearning_rate = 0.01\n"
    )
    assert tell("--config", "talk.toml") == (0, ["figures/loss-booth.png"], [])
    words = ("--optimizers", "sgd,adam", "--set", "adam.b1=0.7", "--learning-rate", "0.02")
    _, out, _ = tell("--config", "talk.toml", "--show-code", *words)
    assert "optimizers = [SGD(learning_rate=0.01), Adam(learning_rate=0.02, b1=0.7)]" in out
    assert "    analysis.compare(optimizer, problem, 5, x0=[-1.2, 1.0], throw=False)" in out


def test_list_names_everything(tell):
    code, out, _ = tell("--list")
    assert code == 0
    assert {line.split()[0] for line in out if line} == {
        *("problems", "games", "optimizers", "figures"),
        *problems.catalogue,
        *problems.games,
        *optimizers.catalogue,
        *kinds.OF_GAMES,
        *measurements.FIGURES,
    }


def test_list_as_json_names_everything_with_options(tell):
    code, out, _ = tell("--list", "--json")
    listed = json.loads("\n".join(out))
    assert code == 0 and listed["dynopt"] == dynopt.__version__
    names = {"problems": problems.catalogue, "games": problems.games}
    names |= {"optimizers": optimizers.catalogue, "optimizers of games": kinds.OF_GAMES}
    for kind, catalogue in (names | {"figures": measurements.FIGURES}).items():
        entries = listed[kind]
        assert [entry["name"] for entry in entries] == list(catalogue)
        assert all(entry["about"] for entry in entries)
    momentum = listed["optimizers"][list(optimizers.catalogue).index("momentum")]
    assert momentum["options"] == {"learning_rate": None, "momentum": 0.9}
    assert momentum["map"] and momentum["flow"] and momentum["time step"] == "h = √η"


def test_quiet_prints_the_paths_only(tell):
    assert tell(*TINY, "--quiet") == (0, ["figures/loss-booth.png"], [])


def test_version(tell):
    assert tell("--version") == (0, [f"dynopt {dynopt.__version__}"], [])


def test_help_shows_every_option_and_an_example_of_each_value(tell):
    code, out, _ = tell("--help")
    examples = dict(re.findall(r"Example: (--\S+) (\S+)", "\n".join(out)))
    shown = {line.split()[0] for line in out if line.startswith("  --")}
    assert code == 0 and max(map(len, out)) < 80
    assert shown == {options.flag(name) for name in options.READERS}
    assert set(examples) == {options.flag(name) for name, read in options.READERS.items() if read}
    Path("talk.toml").write_text("")
    for flag, value in examples.items():
        arguments.read([flag, value])
    assert "  --problem NAME,NAME" in out


# Runs that fail are results


DIVERGING = [*TINY, "--learning-rate", "10"]


def test_a_diverged_run_is_a_result(tell):
    code, out, _ = tell(*DIVERGING)
    assert code == 0 and drawn() == ["loss-booth.png"]
    assert "map diverged at step" in out[2]


def test_under_strict_a_diverged_run_ends_in_3_with_everything_written(tell):
    code, _, _ = tell(*DIVERGING, "--strict", "--save", "runs.npz")
    assert code == 3 and drawn() == ["loss-booth.png"]
    with np.load("runs.npz") as saved:
        header = json.loads(str(saved["header"]))["runs"]["booth.sgd.map"]
    assert header["status"] == "diverged" and header["first_bad_step"] > 0


def test_strict_is_content_with_runs_that_end_well(tell):
    assert tell(*TINY, "--strict")[0] == 0


def test_a_figure_of_which_nothing_is_left_is_not_drawn(tell, monkeypatch):
    def failed(*_, **__):
        raise SolverFailure("the flow diverges", partial=None, status=1, t_reached=0.0)

    monkeypatch.setattr(analysis, "order", failed)
    code, _, err = tell(*[word.replace("loss", "convergence,overview,loss") for word in TINY])
    assert code == 0 and drawn() == ["loss-booth.png", "overview-booth.png"]
    assert err == ["dynopt: no convergence of booth, as no run of sgd lasted long enough."]


# Files


def test_the_same_command_writes_the_same_bytes(tell):
    again = [*TINY[:8], "--format", "png,svg,pdf", "--save"]
    tell(*again, "a.npz", "--output", "a")
    tell(*again, "b.npz", "--output", "b")
    for name in drawn("a"):
        assert Path("a", name).read_bytes() == Path("b", name).read_bytes(), name
    assert Path("a.npz").read_bytes() == Path("b.npz").read_bytes()


def test_what_is_there_already_is_not_touched(tell):
    tell(*TINY)
    os.utime("figures/loss-booth.png", (1, 1))
    code, out, _ = tell(*TINY)
    assert code == 0 and out[3] == "figures/loss-booth.png (unchanged)"
    assert Path("figures/loss-booth.png").stat().st_mtime == 1


def test_an_older_drawing_is_replaced(tell):
    tell(*TINY)
    before = Path("figures/loss-booth.png").read_bytes()
    code, out, _ = tell(*TINY, "--learning-rate", "0.01")
    assert code == 0 and out[3] == "figures/loss-booth.png"
    assert Path("figures/loss-booth.png").read_bytes() != before


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_work_of_others_is_replaced_by_force_only(tell, kind, monkeypatch):
    monkeypatch.setattr(measurements, "measure", lambda *_: pytest.fail("computed before looking"))
    Path("figures").mkdir()
    Path(f"figures/loss-booth.{kind}").write_text("a holiday")
    code, _, err = tell(*TINY[:8], "--format", kind)
    assert code == 4 and "was not written by dynopt" in err[0] and "--force" in err[0]
    assert Path(f"figures/loss-booth.{kind}").read_text() == "a holiday"
    monkeypatch.undo()
    os.chdir(Path(f"figures/loss-booth.{kind}").resolve().parents[1])


def test_force_replaces_the_work_of_others(tell):
    Path("figures").mkdir()
    Path("figures/loss-booth.png").write_text("a holiday")
    assert tell(*TINY, "--force")[0] == 0
    assert provenance.is_written_by_dynopt(Path("figures/loss-booth.png"))


def test_a_saved_file_of_others_is_not_replaced(tell):
    np.savez("runs.npz", a=1)
    code, _, err = tell(*TINY, "--save", "runs.npz")
    assert code == 4 and "'runs.npz' was not written by dynopt" in err[0]
    assert not Path("figures").exists() or drawn() == []


def test_when_the_disk_refuses_the_old_file_survives(tell, monkeypatch):
    tell(*TINY)
    before = Path("figures/loss-booth.png").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    code, _, err = tell(*TINY, "--learning-rate", "0.01")
    assert code == 4 and "No space left on device" in err[0]
    assert Path("figures/loss-booth.png").read_bytes() == before and drawn() == ["loss-booth.png"]


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_a_figure_says_where_it_comes_from(tell, kind):
    tell(*TINY[:8], "--format", kind, "--set", "sgd.learning_rate=0.01", "--output", "elsewhere")
    data = Path(f"elsewhere/loss-booth.{kind}").read_bytes()
    command = "dynopt --problem booth --figures loss --optimizers sgd"
    options = "--set sgd.learning_rate=0.01 --steps 5"
    software = (f"dynopt {dynopt.__version__} ", "optax", "diffrax", "matplotlib")
    for fact in (f"{command} {options}", *software, "float64", "none: nothing is random"):
        assert fact.encode() in data
    assert b"elsewhere" not in data and str(Path.cwd()).encode() not in data
    if kind != "pdf":  # which holds text in UTF-16
        comparison = analysis.compare(optimizers.SGD(0.01), problems.booth(), 5)
        description = figures.loss.describe(comparison)
        assert description.partition(":")[0].encode() in data


def test_the_command_in_a_figure_draws_it_again(tell):
    import shlex

    tell(
        *TINY, "--x0", "-1,2", "--set", "sgd.learning_rate=0.01", "--style", "slides", "--dpi", "40"
    )
    before = Path("figures/loss-booth.png").read_bytes()
    with Image.open("figures/loss-booth.png") as image:
        words = shlex.split(image.info["Command"])
    assert words[0] == "dynopt"
    tell(*words[1:], "--format", "png", "--output", "again")
    assert Path("again/loss-booth.png").read_bytes() == before


# Code


def test_show_code_draws_the_same_figures(tell):
    words = [*TINY[:2], *"--optimizers momentum --steps 5 --x0 -1,2".split()]
    words += ["--set", "momentum.learning_rate=0.01", "--style", "paper", "--dpi", "50"]
    drawn = [name for name in figures.catalogue if name != "field"]  # Momentum has a memory
    words += ["--figures", ",".join(drawn)]
    assert tell(*words)[0] == 0
    code, out, _ = tell(*words, "--show-code")
    assert code == 0
    Path("code").mkdir()
    os.chdir("code")
    exec(compile("\n".join(out), "shown", "exec"), {})
    for name in (f"{figure}-booth.png" for figure in drawn):
        np.testing.assert_array_equal(imread(name), imread(f"../figures/{name}"))


def test_random_paths_are_drawn_from_their_seed_and_show_code_draws_the_same(tell):
    words = "--problem booth --optimizers sgd --steps 3 --learning-rate 0.02 --noise 2.5".split()
    words += ["--seed", "3", "--dpi", "50"]
    code, out, err = tell(*words, "--save", "runs.npz")
    assert (code, err) == (0, []) and out[0] == "booth, 3 steps from (-8, 3), seed 3"
    assert drawn() == ["ensemble-booth.png"]
    runs = [
        dynopt.ensemble(
            dynopt.Noisy(optimizers.SGD(0.02), sigma=2.5), problems.booth(), 3, key=3, of=kind
        )
        for kind in ("map", "flow")
    ]
    losses = [np.asarray(run.loss)[:, -1] for run in runs]
    means = [float(loss.mean()) for loss in losses]
    errors = [float(loss.std(ddof=1)) / 1000**0.5 for loss in losses]
    row = out[2].split()
    assert row[0] == "sgd" and [float(row[i]) for i in (2, 5)] == pytest.approx(means, rel=1e-2)
    assert [float(row[i]) for i in (4, 7)] == pytest.approx(errors, rel=0.06)
    assert row[3] == row[6] == "±"
    with Image.open("figures/ensemble-booth.png") as image:
        assert image.info["Seed"] == "3"
    with np.load("runs.npz", allow_pickle=False) as saved:
        header = json.loads(str(saved["header"]))
        for run in runs:
            for part, values in {"t": run.t, "x": run.x, "loss": run.loss}.items():
                np.testing.assert_array_equal(saved[f"booth.sgd.{run.kind}.{part}"], values)
        assert saved["booth.sgd.flow.x"].shape == (1000, 4, 2)
        assert (saved["booth.sgd.map.result"] == 0).all() and header["statuses"]["0"] == "ok"
    assert header["seed"] == "3" and header["runs"]["booth.sgd.map"] == {
        "kind": "map", "optimizer": "Noisy(SGD(learning_rate=0.02), sigma=2.5, key=3)",
        "problem": "booth", "dtype": "float64", "paths": 1000, "failed": 0,
    }  # fmt: skip
    assert "figures/ensemble-booth.png (unchanged)" in tell(*words)[1]
    _, out, _ = tell(*words, "--show-code")
    assert "optimizers = [Noisy(SGD(learning_rate=0.02), sigma=2.5, key=3)]" in out
    Path("code").mkdir()
    os.chdir("code")
    exec(compile("\n".join(out), "shown", "exec"), {})
    for name in drawn("../figures"):
        np.testing.assert_array_equal(imread(name), imread(f"../figures/{name}"))


def test_laws_of_noise_are_in_the_table_and_show_code_draws_the_same(tell, monkeypatch):
    monkeypatch.setattr(gallery, "FACTORS", (0.5, 1.0, 5.0))  # at the last there is no law
    words = "--problem quadratic --optimizers sgd,rmsprop --figures stationary,weak_order".split()
    words += "--learning-rate 0.05 --noise 0.5 --seed 3 --steps 10 --x0 0,0 --dpi 50".split()
    code, out, err = tell(*words)
    assert (code, err) == (0, []) and out[0] == "quadratic from (0, 0), seed 3"
    files = ["stationary-quadratic-sgd.png", "weak_order-quadratic.png"]  # RMSprop is not affine
    assert drawn() == files and out[3].split() == ["rmsprop", "0.05", *"------"]
    # η σ²/(λ (2 - ηλ)) of the map, η σ²/(2λ) of the flow, (1 + ηλ/2) times that if modified
    ratios = [[1 / (1 - 0.025 * c) for c in (1, 10)], [1, 1], [1 + 0.025 * c for c in (1, 10)]]
    variances = [0.05 * 0.25 * (low / 2 + high / 20) for low, high in ratios]
    name, h, *exact, simulated, plus, error, order, of_modified = out[2].split()
    assert [float(x) for x in exact] == pytest.approx(variances, rel=5e-3)
    assert (name, h, plus) == ("sgd", "0.05", "±") and 0 < float(error) < 0.1 * variances[0]
    assert abs(float(simulated) - variances[0]) < 4 * float(error)
    curvature, errors = np.array([1, 10]), []
    for h, steps in ((0.0125, 40), (0.00625, 80)):  # the finest of four, at one temperature
        q = (1 - h * curvature) ** 2
        of_map = 0.05 * 0.25 * h * (1 - q**steps) / (1 - q)
        of_flow = 0.05 * 0.25 * (1 - np.exp(-curvature)) / (2 * curvature)
        errors.append(np.abs(of_map - of_flow).max())
    assert float(order) == pytest.approx(np.log2(errors[0] / errors[1]), abs=6e-4)
    assert abs(float(of_modified) - 2) < 0.06
    with Image.open(f"figures/{files[0]}") as image:
        assert image.info["Seed"] == "3"
        assert "3 learning rates" in image.info["Description"]
    _, out, _ = tell(*words, "--show-code")
    one = "Noisy(SGD(learning_rate=rate), sigma=0.5, key=3)"
    assert f"        [{one} for rate in (0.025, 0.05, 0.25)]," in out
    Path("code").mkdir()
    os.chdir("code")
    exec(compile("\n".join(out), "shown", "exec"), {})
    for name in files:
        np.testing.assert_array_equal(imread(name), imread(f"../figures/{name}"))


def test_show_code_of_the_gallery_compiles_and_draws_nothing(tell):
    code, out, _ = tell("--show-code", "--format", "svg,html,gif")  # as advised after svg alone
    assert code == 0 and not Path("figures").exists()
    compile("\n".join(out), "shown", "exec")
    assert "problem = problems.rosenbrock()" in out
    assert 'picture.savefig("paths-rosenbrock.svg")' in out
    assert 'picture.save("animation-quadratic.gif")' in out


# Problems of one's own


OWN = """
from dynopt import Problem, problems

bowl = problems.booth().loss

def made():
    return Problem(bowl, [1.0, 2.0], name="Größe $\\\\alpha$ / ..")

ready = Problem(bowl, [1.0, 0.0], name="ready")
"""


@pytest.fixture
def own():
    Path("mine.py").write_text(OWN)


@pytest.mark.parametrize(
    "name, title, stem",
    [
        ("mine:made", "Größe $\\alpha$ / .., 5 steps from (1, 2)", "gr-sse-alpha"),
        ("mine:ready", "ready, 5 steps from (1, 0)", "ready"),
    ],
)
def test_a_function_that_makes_a_problem(tell, own, name, title, stem):
    path, modules = list(sys.path), set(sys.modules)
    code, out, _ = tell("--problem", name, *TINY[2:])
    assert code == 0 and out[0] == title
    assert drawn() == [f"loss-{stem}.png"]
    assert sys.path == path and "mine" not in set(sys.modules) - modules


@pytest.mark.parametrize("name", ["mine.py:ready", "./mine.py:ready", "{here}/mine.py:ready"])
def test_a_file_of_this_folder_by_any_name(tell, own, name):
    words = ["--problem", name.format(here=Path.cwd()), *TINY[2:]]
    assert tell(*words)[1][0] == "ready, 5 steps from (1, 0)"
    _, script, _ = tell(*words, "--show-code")
    assert "import mine" in script and "problem = mine.ready" in script


@pytest.mark.parametrize(
    "file, fit", [("my-loss.py", "my_loss.py"), ("2nd.py", "_2nd.py"), ("my loss.py", "my_loss.py")]
)
def test_a_file_that_python_cannot_import_is_to_be_renamed(tell, file, fit):
    Path(file).write_text(OWN)
    code, _, err = tell("--problem", f"{file}:ready", *TINY[2:])
    assert code == 2 and err == [
        f"dynopt: Python cannot import a file named {file!r}; rename it, for example to {fit}."
    ]


def test_a_configuration_may_begin_with_a_mark(tell):
    """As some editors write it."""
    Path("run.toml").write_bytes("steps = 1".encode("utf-8-sig"))
    typed = [word for i, word in enumerate(TINY) if "--steps" not in TINY[max(i - 1, 0) : i + 1]]
    assert tell(*typed, "--config", "run.toml")[1][0] == "booth, 1 step from (-8, 3)"


def test_a_loss_with_a_start(tell, own):
    code, out, _ = tell("--problem", "mine:bowl", "--x0", "1,-1", *TINY[2:])
    assert code == 0 and out[0] == "booth, 5 steps from (1, -1)"
    _, shown, _ = tell("--problem", "mine:bowl", "--x0", "1,-1", *TINY[2:], "--show-code")
    assert "import mine" in shown and "problem = Problem(mine.bowl, [1.0, -1.0])" in shown
    assert "    analysis.compare(optimizer, problem, 5, throw=False)" in shown


def test_a_file_may_be_named_as_it_is_called(tell, own):
    words = ["--problem", "mine.py:bowl", "--x0", "1,-1", *TINY[2:], "--show-code"]
    code, shown, _ = tell(*words)
    assert code == 0 and "problem = Problem(mine.bowl, [1.0, -1.0])" in shown


# The process around it


def test_stopped_by_ctrl_c_finished_figures_stay(tell, monkeypatch):
    draw = measurements.draw

    def stop(study, figure, results):
        if figure == "paths":
            raise KeyboardInterrupt
        return draw(study, figure, results)

    monkeypatch.setattr(measurements, "draw", stop)
    code, _, err = tell(*[word.replace("loss", "loss,paths,race") for word in TINY])
    assert (code, err) == (130, ["dynopt: stopped by you after 1 of 3 figures."])
    assert drawn() == ["loss-booth.png"]


def test_stopped_by_sigterm(tell, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt(signal.SIGTERM)

    monkeypatch.setattr(measurements, "draw", stop)
    assert tell(*TINY)[::2] == (143, ["dynopt: stopped by SIGTERM after 0 of 1 figures."])


def test_a_bug_is_written_down(tell, monkeypatch):
    def broken(*_):
        raise RuntimeError("two left feet")

    monkeypatch.setattr(measurements, "draw", broken)
    code, _, err = tell(*TINY)
    assert code == 1 and err[0].startswith(
        "dynopt: a bug in dynopt, RuntimeError; please report it"
    )
    report = Path(err[0].split("traceback in ")[1].rstrip("."))
    assert "two left feet" in report.read_text() and "broken" in report.read_text()
    report.unlink()


def test_warnings_of_the_library_are_told_in_a_line(tell, monkeypatch):
    def warned(*_):
        warnings.warn("mind the step", stacklevel=1)

    monkeypatch.setattr(measurements, "draw", warned)
    assert "dynopt: mind the step" in tell(*TINY)[2]


def test_nothing_is_left_behind(tell):
    def surroundings():
        variables = dict(mpl.rcParams), dict(os.environ)
        return *variables, list(sys.path), os.getcwd(), list(warnings.filters)

    before = surroundings()
    jax.config.update("jax_enable_x64", False)
    try:
        assert tell(*TINY)[0] == 0
        assert not jax.config.jax_enable_x64  # pyright: ignore
    finally:
        jax.config.update("jax_enable_x64", True)
    assert surroundings() == before
    cache = jax.config.jax_compilation_cache_dir  # pyright: ignore
    assert cache == os.environ.get("JAX_COMPILATION_CACHE_DIR")
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


def test_the_numbers_are_float64_wherever_the_process_stands(tell):
    jax.config.update("jax_enable_x64", False)
    try:
        tell(*TINY, "--save", "runs.npz")
    finally:
        jax.config.update("jax_enable_x64", True)
    with np.load("runs.npz") as saved:
        assert saved["booth.sgd.flow.x"].dtype == np.float64


def test_what_the_stream_cannot_write_is_spelt_out(monkeypatch):
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", narrow)
    assert main(["--list"]) == 0
    about = str(problems.quadratic.__doc__).partition("\n")[0].encode("ascii", "backslashreplace")
    assert b"\\u03bb" in about and about in narrow.buffer.getvalue()  # pyright: ignore


def test_without_a_stdout_figures_are_drawn(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert main(TINY) == 0 and drawn() == ["loss-booth.png"]
