"""What the file of the explorer promises without a browser: bytes, policy, names, refusals."""

import base64
import hashlib
import html
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import dynopt
from dynopt import SGD, Averaged, Momentum, Problem, explore, problems
from dynopt.errors import EnvironmentProblem, InvalidType, InvalidValue
from dynopt.explorer import explorer
from dynopt.explorer.traced import constructor_of
from dynopt.explorer.widget import widget_class
from dynopt.optimizers import AbstractOptimizer

HOSTILE = "</script><!--<img src=x onerror=alert(1)>\u202e\u2028\x00"
QUADRATIC = problems.quadratic()


def bowl(x):
    return (x**2).sum()


def sorted_bowl(x):
    return (jnp.sort(x) * jnp.array([1.0, 2.0])).sum() ** 2


def squares(x, data):
    return ((x[0] * data + x[1] - data**2) ** 2).mean()


fit = Problem(squares, [1.0, 2.0], data=np.linspace(-1, 1, 300), name="fit")


@pytest.fixture(scope="module")
def simple():
    return explore(QUADRATIC, SGD(0.17))


def test_the_same_call_gives_the_same_bytes_in_both_precisions(simple):
    assert explore(QUADRATIC, SGD(0.17)).html == simple.html
    with jax.enable_x64(False):
        assert explore(problems.quadratic(), SGD(0.17)).html == simple.html
    assert explore(QUADRATIC, SGD(0.18)).html != simple.html


def test_the_policy_allows_this_script_and_this_style_and_nothing_else(simple):
    policy = dict(
        directive.strip().split(" ", 1)
        for directive in re.search('Policy" content="([^"]*)"', simple.html)[1].split(";")
    )
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", simple.html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert policy.pop(directive) == f"'sha256-{digest}'"
    assert policy == {
        "default-src": "'none'", "img-src": "data:", "worker-src": "blob:",
        "base-uri": "'none'", "form-action": "'none'",
    }  # fmt: skip


def test_the_file_evaluates_no_text_and_names_no_address(simple):
    forbidden = (r"\beval\(", r"new Function", r"innerHTML", r"https?://", r"\son\w+=", r"fetch\(")
    assert [pattern for pattern in forbidden if re.search(pattern, simple.html)] == []


def test_hostile_names_stay_text():
    page = explore(Problem(bowl, [1.0, 2.0], name=HOSTILE), SGD(0.1).named(HOSTILE)).html
    assert page.count("</script>") == 1 and "<img" not in page and "<!--" not in page
    assert not re.search("[\u202e\u2028\x00]", page)
    title = html.unescape(re.search("<title>(.*?)</title>", page)[1])
    assert title == "Map and flow on </script><!--<img src=x onerror=alert(1)>\\u202e\\u2028\\x00"


def test_an_explorer_saves_and_shows_its_whole_file(simple, tmp_path):
    simple.save(tmp_path / "new" / "explorer.html")
    assert (tmp_path / "new" / "explorer.html").read_text("utf-8") == simple.html
    frame = simple._repr_html_()
    assert html.unescape(re.search('srcdoc="([^"]*)"', frame)[1]) == simple.html
    assert 'sandbox="allow-scripts"' in frame


def test_a_widget_holds_the_same_frame_and_needs_anywidget(simple, monkeypatch):
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "anywidget", None)
        widget_class.cache_clear()
        with pytest.raises(EnvironmentProblem, match=r'pip install "dynopt\[notebooks\]", or show'):
            simple.widget()
    pytest.importorskip("anywidget")
    widget = simple.widget()
    assert widget.frame == simple._repr_html_() and widget.scene == {}
    assert "application/vnd.jupyter.widget-view+json" in widget._repr_mimebundle_()[0]


def test_the_usual_optimizers_stand_at_rates_at_which_map_and_flow_differ_visibly():
    sgd, momentum, rmsprop, adam = explorer.vivid_optimizers(QUADRATIC, 50)
    assert sgd.learning_rate == pytest.approx(0.85 * 2 / 10)  # 85 % of the limit at curvature 10
    assert momentum.learning_rate == pytest.approx(2 / (2 * 10))
    assert rmsprop.learning_rate == adam.learning_rate / 2 == pytest.approx(2 * 2 / 50)


def test_modified_flows_make_room_and_then_the_rest_is_refused(simple, monkeypatch):
    monkeypatch.setattr(explorer, "MAX_BYTES", len(simple.html) - 1)
    shorter = explore(QUADRATIC, SGD(0.17)).html
    assert "modified:function" not in shorter and len(shorter) < len(simple.html)
    monkeypatch.setattr(explorer, "MAX_BYTES", len(shorter) - 1)
    with pytest.raises(InvalidValue, match="pass fewer optimizers or problems"):
        explore(QUADRATIC, SGD(0.17))


def test_the_explorer_begins_at_x0_and_its_rates_suit_that_start():
    leaf = {"a": np.array(3.0), "b": np.array(-4.0)}
    assert '"x0":[3.0, -4.0]' in explore(leaves, SGD(0.1), x0=leaf).html
    both = explore([QUADRATIC, problems.booth()], SGD(0.1), x0=[3.0, -4.0]).html
    assert both.count('"x0":[3.0, -4.0]') == 2
    near, far = (explorer.vivid_optimizers(QUADRATIC, 50, [d, 0.0])[3] for d in (1.0, 4.0))
    assert far.learning_rate == pytest.approx(4 * near.learning_rate)  # the way is 4 times as long
    with pytest.raises(InvalidValue, match=r"`x0` has shape \(3,\) but quadratic wants \(2,\)"):
        explore(QUADRATIC, SGD(0.1), x0=[1.0, 2.0, 3.0])


def test_a_loss_over_too_much_data_is_named(simple, monkeypatch):
    monkeypatch.setattr(explorer, "MAX_BYTES", len(simple.html) + 10_000)
    with pytest.raises(InvalidValue, match="fit takes [0-9]+; pass fewer .*, or a loss over less"):
        explore(fit, SGD(0.1))


leaves = Problem(lambda x: x["a"] ** 2 + x["b"] ** 4, {"a": 1.0, "b": 2.0}, name="leaves")
others = Problem(lambda x: x["b"] ** 2 + x["c"] ** 4, {"b": 1.0, "c": 2.0}, name="others")
layerwise = dynopt.Layerwise(SGD(0.1), {"b": 2.0})
consensus = dynopt.Consensus(SGD(0.1), 0.5)
noisy = dynopt.Averaged(dynopt.Noisy(SGD(0.1), sigma=0.5), 2.0)
few = Problem(squares, [1.0, 2.0], data=np.linspace(-1, 1, 6), name="few")
clipped_parts = dynopt.WithGradient(dynopt.Accumulated(SGD(0.1), 2), optax.clip(1.0))


def shaken(g, x, k):
    return g + jax.random.normal(jax.random.fold_in(jax.random.key(0), k), g.shape)


shaking = dynopt.WithGradient(SGD(0.1), shaken, mean=lambda g: g)
polyak = dynopt.Optax(lambda h: optax.polyak_sgd(max_learning_rate=1.0, scaling=h), 0.1)
no_flow = dynopt.Optax(lambda h: optax.sgd(0.1), 0.1)


@pytest.mark.parametrize(
    ("problem", "optimizers", "kind", "words"),
    [
        (problems.quadratic([1.0, 2.0, 3.0]), SGD(0.1), InvalidValue, "has 3 coordinates; pass a problem with two"),
        (Problem(bowl, [1.0]), SGD(0.1), InvalidValue, "has 1 coordinate; pass"),
        (Problem(sorted_bowl, [1.0, 2.0]), SGD(0.1), InvalidValue, "sorted_bowl cannot be explored: .*`sort`"),
        ([leaves, others], layerwise, InvalidValue, "Layerwise.* each leaf .* leaves and others differ"),
        (problems.bilinear(), None, InvalidValue, "`optimizers` is required for bilinear"),
        (problems.bilinear(), consensus, InvalidValue, "uses the transposed derivative .* bilinear has a field"),
        (QUADRATIC, dynopt.Muon(0.1), InvalidValue, "Muon moves matrices"),
        (QUADRATIC, noisy, InvalidValue, r"Averaged\(Noisy.* draws random numbers, .* such as dynopt.SGD"),
        (QUADRATIC, shaking, InvalidValue, "cannot be explored: .*random_.* leave the random numbers out"),
        (few, dynopt.Minibatch(SGD(0.1), 2), InvalidValue, "Minibatch.* draws random numbers"),
        (few, clipped_parts, InvalidValue, "WithGradient.* asks for gradients over parts of the data of few"),
        (QUADRATIC, polyak, InvalidValue, "cannot be explored: .* asks for the loss"),
        (QUADRATIC, no_flow, InvalidValue, "Optax.* cannot be explored: this family has no flow"),
        (QUADRATIC, "sgd", InvalidType, "must be an optimizer of dynopt"),
        (QUADRATIC, [], InvalidValue, "`optimizers` is empty"),
        ([], SGD(0.1), InvalidValue, "`problem` is empty"),
        (bowl, SGD(0.1), InvalidType, "must be a dynopt.Problem"),
    ],
)  # fmt: skip
def test_what_cannot_be_explored_is_refused_in_a_sentence(
    problem, optimizers, kind, words, as_users_see_it
):
    with pytest.raises(kind, match=words) as refusal:
        explore(problem, optimizers)
    assert str(refusal.value).endswith(".")


def test_games_are_explored_with_optimizers_that_follow_their_field():
    remedy = dynopt.Optimistic(0.1)
    assert explore(problems.bilinear(), [SGD(0.1), remedy]).optimizers == ("SGD", "Optimistic")
    assert explore(QUADRATIC, consensus).optimizers == ("Consensus(SGD)",)


def test_without_data_each_part_is_the_whole_loss():
    assert explore(QUADRATIC, clipped_parts).optimizers == ("WithGradient(Accumulated(SGD))",)
    assert explore(few, SGD(0.1)).optimizers == ("SGD",)  # the remedy


def test_the_optimizer_knows_the_leaves_and_the_matrix_of_a_position():
    column = Problem(lambda x: (x**2).sum(), np.ones((2, 1)), name="column")
    assert explore(column, dynopt.Muon(0.1, exact=False)).optimizers == ("Muon",)
    assert explore(leaves, layerwise).optimizers == ("Layerwise(SGD)",)


@pytest.mark.parametrize("steps", [0, 201, 2.5])
def test_the_number_of_steps_is_whole_and_at_most_200(steps, as_users_see_it):
    with pytest.raises((InvalidValue, InvalidType), match="`steps`"):
        explore(QUADRATIC, SGD(0.1), steps=steps)


class Branching(AbstractOptimizer):
    """An optimizer of a user whose constructor looks at its values."""

    h: float

    def __init__(self, learning_rate):
        self.h = learning_rate if learning_rate < 1 else 1.0

    learning_rate = property(lambda self: self.h)
    init = SGD.init
    step = SGD.step
    vector_field = SGD.vector_field


def test_what_moves_is_what_the_constructor_takes_and_else_the_time_step():
    chain = dynopt.Optax(lambda h: optax.sgd(h), 0.1)
    cases = [
        (SGD(0.1), {"learning_rate": 0.1}, "dynopt.SGD(learning_rate=0.1)"),
        (Averaged(Momentum(0.04), 3.0), {"learning_rate": 0.04, "momentum": 0.9},
         "dynopt.Averaged(dynopt.Momentum(learning_rate=0.04, momentum=0.9), tau=3)"),
        (Branching(0.1), {"h": 0.1}, "optimizer.with_time_step(0.1)"),
        (chain, {"h": 0.1}, "optimizer.with_time_step(0.1)"),
    ]  # fmt: skip
    for optimizer, values, python in cases:
        constructor = constructor_of(optimizer)
        assert constructor.values == pytest.approx(values)
        numbers = [*constructor.values.values()]
        code = [f"{numbers[c]:.12g}" if isinstance(c, int) else c for c in constructor.code]
        assert "".join(code) == python
        made = constructor.make([0.5 * numbers[0], *numbers[1:]])
        ratio = 0.5 if "h" in values or "momentum" not in values else np.sqrt(0.5)
        assert float(made.h) == pytest.approx(ratio * float(optimizer.h))
