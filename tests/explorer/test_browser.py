"""The explorer in a real browser; collected only where chromium and playwright are installed."""

import re
import shutil

import jax
import numpy as np
import pytest
from playwright.sync_api import sync_playwright

import dynopt
from dynopt import Problem, problems
from dynopt.explorer import explore
from dynopt.explorer.widget import MODULE

HOSTILE = '</script><img src=x onerror="document.title=1">'
STEPS = 40
AVERAGED = dynopt.Averaged(dynopt.SGD(0.02), 0.1)


class Branching(dynopt.AbstractOptimizer):
    """An optimizer of a user, whose constructor looks at its values."""

    h: float

    def __init__(self, learning_rate):
        self.h = learning_rate if learning_rate < 1 else 1.0

    learning_rate = property(lambda self: self.h)
    init = dynopt.SGD.init
    step = dynopt.SGD.step
    vector_field = dynopt.SGD.vector_field


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("explorer") / "explorer.html"
    hostile = Problem(lambda x: (x**2).sum(), [1.0, 2.0], name=HOSTILE)
    explore(
        [problems.quadratic(), problems.himmelblau(), hostile],
        [dynopt.SGD(0.17), dynopt.Adam(0.25, b2=0.99).named(HOSTILE), AVERAGED, Branching(0.02)],
        STEPS,
    ).save(path)
    return path


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture
def tab(browser, file):
    """A tab that opens the file; after the test, nothing was reported and nothing was asked for."""
    tab = browser.new_page(viewport={"width": 1400, "height": 900})
    reports = []
    tab.on("console", lambda message: reports.append(message.text))
    tab.on("pageerror", lambda error: reports.append(str(error)))
    tab.on("request", lambda request: reports.append(request.url))
    open_scene(tab, file, "")
    yield tab
    assert [r for r in reports if not r.startswith(("file:", "blob:", "data:"))] == []
    tab.close()


def open_scene(tab, file, fragment):
    tab.goto("about:blank")
    tab.goto(file.as_uri() + fragment)
    wait(tab)


def wait(tab, condition="dynopt.isIdle()"):
    """Until a condition holds in a frame of the browser, however long that takes."""
    tab.evaluate(
        "() => new Promise(resolve => { const look = () => "
        f"{condition} ? resolve() : requestAnimationFrame(look); look(); }})"
    )


def state(tab):
    wait(tab)
    return tab.evaluate("dynopt.state()")


def test_map_and_flow_are_those_of_python(tab):
    names = tab.evaluate("dynopt.names()")
    tab.evaluate("dynopt.problem('himmelblau')")
    x0 = [0.5, -2.0]
    for name, optimizer in zip(
        names, [dynopt.SGD(0.0125), dynopt.Adam(0.1, b2=0.99)], strict=False
    ):
        rate = optimizer.hyperparameters()["learning_rate"]
        arguments = [name, {"learning_rate": rate}, x0, STEPS]
        found = tab.evaluate("args => [dynopt.map(...args), dynopt.flow(...args)]", arguments)
        comparison = dynopt.analysis.compare(optimizer, problems.himmelblau(), STEPS, x0=x0)
        np.testing.assert_allclose(found[0], comparison.map.x, atol=1e-11)
        np.testing.assert_allclose(found[1], comparison.flow.x, atol=1e-6)
    loss = float(problems.himmelblau().loss(jax.numpy.array(x0)))
    assert tab.evaluate("x => dynopt.loss(x)", x0) == pytest.approx(loss, rel=1e-14)


def test_a_click_and_the_arrow_keys_move_the_start(tab):
    plane = tab.locator("canvas.plane").first
    before = state(tab)
    box = plane.bounding_box()
    tab.mouse.click(box["x"] + 60, box["y"] + 40)
    clicked = state(tab)
    assert clicked["x0"] != before["x0"] and clicked["errors"] != before["errors"]
    plane.focus()
    tab.keyboard.press("ArrowUp")
    pressed = state(tab)
    assert pressed["x0"][1] > clicked["x0"][1] and pressed["x0"][0] == clicked["x0"][0]


def test_a_slider_moves_the_run_and_the_address_keeps_the_scene(tab, browser):
    slider = tab.locator("input[aria-label='learning_rate of SGD']")
    before = state(tab)
    slider.focus()
    tab.keyboard.press("ArrowLeft")
    after = state(tab)
    assert (
        after["hyper"][0][0] < before["hyper"][0][0] and after["errors"][0] != before["errors"][0]
    )
    wait(tab, f"location.hash.includes('hyper={after['hyper'][0][0]};')")
    other = browser.new_page()
    other.goto(tab.url)
    restored = state(other)
    other.close()
    assert restored == after


def test_halving_a_small_time_step_halves_the_largest_error(tab, file):
    open_scene(tab, file, "#problem=quadratic&hyper=0.02;0.05,0.9,0.99,1e-8&steps=40")
    before = state(tab)["errors"]
    tab.click("#halve")
    tab.click("#halve")
    tab.click("#halve")
    third = state(tab)["errors"]
    tab.keyboard.press("h")
    fourth = state(tab)["errors"]
    assert third[0] < before[0] / 6
    np.testing.assert_allclose(np.divide(third, fourth)[:2], 2, rtol=0.05)


def test_the_python_that_is_copied_computes_what_is_shown(tab, file, monkeypatch):
    """It names an optimizer of a user, for which the user must fill in the blank."""
    rates = "0.0125;0.1,0.9,0.99,1e-8;0.015;0.01"
    open_scene(tab, file, f"#problem=himmelblau&hyper={rates}&n=2&x=1,0.5")
    text = tab.evaluate("dynopt.python()")
    assert text.count("optimizer = ...  # yours: ") == 1
    text = text.replace("optimizer = ...", "optimizer = own")
    printed = []
    exec(text, {"print": printed.append, "own": Branching(0.02)})
    np.testing.assert_allclose(printed, state(tab)["errors"], rtol=1e-6)


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_playing_moves_the_step_and_stops_and_glides_only_if_motion_is_welcome(tab, motion):
    tab.emulate_media(reduced_motion=motion)
    tab.click("#play")
    wait(tab, "dynopt.state().k >= 1")
    first = tab.evaluate("dynopt.state()")["k"]
    wait(tab, f"dynopt.state().k > {first}")
    assert (tab.evaluate("dynopt.state()")["head"] is None) == (motion == "reduce")
    tab.click("#play")
    stopped = state(tab)["k"]
    assert tab.inner_text("#when") == f"{stopped} / {STEPS}" and tab.input_value("#scrub") == str(
        stopped
    )
    words = tab.locator(".words").first.inner_text()
    assert words.startswith(f"step {stopped}: error ")
    wait(tab, "(globalThis.frames_ = (globalThis.frames_ ?? 0) + 1) > 9")
    assert state(tab)["k"] == stopped


def test_an_embedded_scene_plays_by_itself_and_shows_the_planes_alone(tab, file):
    open_scene(tab, file, "#embed=1&play=1&on=1000")
    wait(tab, "dynopt.state().k > 0")
    assert tab.locator("canvas.plane:visible").count() == 1
    assert tab.locator("canvas.chart:visible, #problem:visible").count() == 0


def test_a_widget_tells_python_what_is_chosen_in_its_frame(browser):
    """The module that anywidget loads, with a model that keeps what it is told."""
    explorer = explore(problems.quadratic(), dynopt.SGD(0.17), STEPS, x0=[1.0, 2.0])
    tab = browser.new_page(viewport={"width": 1000, "height": 1000})
    show = """async ([module, frame]) => {
        const { default: widget } = await import("data:text/javascript," + encodeURIComponent(module));
        globalThis.kept = { frame };
        const model = { get: (name) => kept[name], save_changes() {},
                        set: (name, value) => { kept[name] = value; } };
        widget.render({ model, el: document.body });
    }"""
    tab.evaluate(show, [MODULE.read_text("utf-8"), explorer._repr_html_()])
    tab.wait_for_function("kept.scene?.n === 1")
    tab.frame_locator("iframe").locator("#halve").click()
    tab.wait_for_function("kept.scene.n === 2")
    assert tab.evaluate("kept.scene") == {
        "problem": "quadratic", "x0": [1, 2], "steps": STEPS, "n": 2,
        "hyper": {"SGD": {"learning_rate": 0.17}},
    }  # fmt: skip
    tab.close()


def test_the_keyboard_reaches_every_control(tab):
    script = "(e => e.id || e.getAttribute('aria-label') || e.textContent)(document.activeElement)"
    reached = set()
    for _ in range(60):
        tab.keyboard.press("Tab")
        reached.add(tab.evaluate(script))
    names = ["problem", "steps", "copy", "theme", "play", "scrub", "halve", "learning_rate of SGD"]
    assert {*names, "flow", "modified flow"} <= reached


@pytest.mark.parametrize(
    "fragment",
    ["#problem=<b>&x=1e999,2&hyper=-1;;;&n=3&steps=9999999&on=00", "#%E0%A4%A", "#x=NaN,1&k=99999"],
)
def test_an_address_that_is_not_allowed_keeps_the_defaults(tab, file, fragment):
    default = state(tab)
    open_scene(tab, file, fragment)
    found = state(tab)
    assert (found["x0"], found["hyper"], found["on"]) == tuple(
        default[name] for name in ("x0", "hyper", "on")
    )


def test_hostile_names_are_shown_and_do_nothing(tab, file):
    open_scene(tab, file, "#problem=himmelblau")
    assert tab.locator("h2").nth(1).inner_text() == HOSTILE
    assert tab.locator("img").count() == 0 and tab.title() != "1"


@pytest.mark.parametrize("size", [(1400, 900), (1024, 768), (390, 844)])
def test_nothing_but_the_columns_is_wider_than_the_screen(tab, size):
    tab.set_viewport_size({"width": size[0], "height": size[1]})
    wait(tab)
    assert tab.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_a_dot_tells_its_step_to_the_pointer_and_to_the_keyboard(tab, file):
    open_scene(tab, file, "#problem=quadratic&show=flow.landscape")  # the window stays
    box = tab.locator("canvas.plane").nth(1).bounding_box()
    x, y = box["x"] + 50, box["y"] + 50
    tab.mouse.click(x, y)  # this is the start now
    wait(tab)
    tab.mouse.move(x + 2, y + 2)
    tip = tab.locator(".tip").nth(1)
    lines = tip.inner_text().splitlines()
    loss, error = tab.evaluate("dynopt.loss(dynopt.state().x0)"), lines[1]
    assert lines[0] == "step 0, t = 0" and error == "error 0"
    assert float(lines[2].split()[1].strip(",")) == pytest.approx(loss, rel=0.05)
    assert [line.split()[0] for line in lines[3:6]] == ["x", "m", "v"]
    tab.mouse.move(x, 2)
    tab.locator("canvas.plane").nth(1).focus()
    tab.keyboard.press("i")
    assert tip.inner_text().startswith(f"step {STEPS}, t = ")
    tab.keyboard.press("i")
    assert not tip.is_visible()


CONTRASTS = """() => {
    const numbers = color => color.match(/[\\d.]+/g).map(Number);
    const luminance = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const contrast = (a, b) => {
        const [dark, light] = [luminance(a), luminance(b)].sort((x, y) => x - y);
        return (light + 0.05) / (dark + 0.05);
    };
    const behind = element => {
        const [r, g, b, alpha] = numbers(getComputedStyle(element).backgroundColor);
        return alpha === 0 ? behind(element.parentElement) : [r, g, b];
    };
    const texts = [...document.querySelectorAll("body *")].filter(e => e.checkVisibility()
        && !e.disabled && [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()));
    const style = getComputedStyle(document.documentElement).getPropertyValue("--low").trim();
    const halo = [1, 3, 5].map(i => parseInt(style.slice(i, i + 2), 16));  // of labels in planes
    return [
        ...texts.map(e => contrast(numbers(getComputedStyle(e).color), behind(e))),
        ...[...document.querySelectorAll("h2")]
            .map(e => contrast(numbers(getComputedStyle(e).color), halo)),
    ];
}"""


def test_every_text_has_a_contrast_of_at_least_4_5_also_after_the_system_turns_dark(tab):
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)
        wait(tab, f"document.documentElement.dataset.theme === '{scheme}'")
        wait(tab)
        found = tab.evaluate(CONTRASTS)
        assert len(found) > 40 and min(found) >= 4.5


def test_every_picture_is_told_in_words(tab):
    wait(tab)
    labels = tab.locator("canvas:visible").evaluate_all("all => all.map(c => c.ariaLabel)")
    assert len(labels) == 3 * 4
    for label in labels[0::3]:
        assert re.search(r"in the plane .*: error ≤ [\d.]+ at step \d+.*; h = 0\.\d+", label)
    for label in labels[2::3]:
        assert re.search(r"at most [\d.×⁻⁰¹²³⁴-⁹]+ .*, flow\s±\s[\d.]+×10⁻", label)


def test_a_tap_moves_the_start_and_a_tap_on_a_dot_tells_its_step(browser, file):
    context = browser.new_context(has_touch=True, viewport={"width": 390, "height": 844})
    tab = context.new_page()
    open_scene(tab, file, "#problem=quadratic&show=flow.landscape")
    box = tab.locator("canvas.plane").first.bounding_box()
    before = state(tab)["x0"]
    tab.touchscreen.tap(box["x"] + 50, box["y"] + 50)
    moved = state(tab)["x0"]
    tab.touchscreen.tap(box["x"] + 51, box["y"] + 50)
    assert state(tab)["x0"] == moved != before
    assert tab.locator(".tip").first.inner_text().startswith("step 0, t = 0")
    context.close()
