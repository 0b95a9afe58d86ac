"""The page of a recipe: what it holds, its size, and in a real browser the values it shows, without the network."""

import re
import shutil

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxsched as js
from jaxsched.report import _html, _page_figures

LR = js.warmup(js.cosine(0.1, 1000), 100)
EVIL = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
RECIPE = js.Recipe(
    "sgd",
    dict(lr=LR, momentum=0.9),
    groups={"bias": dict(lr=2.0 * LR), EVIL: dict(lr=0.5 * LR)},
    rules=[(js.role("bias"), "bias"), ("head/**", EVIL), ("**", "weight")],
    steps=1000,
    steps_per_epoch=100,
    notes=("<left out>",),
)
LOG = {f"lr {EVIL}": ([100, 500], [0.1, 0.05])}


@pytest.fixture(scope="module")
def page():
    return js.report.page(RECIPE, log=LOG)


def test_it_is_one_file_that_needs_nothing_from_outside(page):
    assert page.startswith("<!DOCTYPE html>")
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']?(?:https?:)?//", page)
    assert len(page) < 2_000_000


def test_what_a_recipe_says_is_escaped(page):
    assert "&lt;left out&gt;" in page
    assert "<left out>" not in page
    assert EVIL not in page


def test_several_recipes_are_drawn_over_each_other_with_their_differences(tmp_path):
    other = RECIPE.replace(hyperparameters=dict(lr=2.0 * LR, momentum=0.9))
    text = js.report.page({"a": RECIPE, "b": other}, path=tmp_path / "ab.html")
    assert "From a to b" in text
    assert (tmp_path / "ab.html").read_text(encoding="utf-8") == text


def test_many_groups_and_a_long_run_stay_small():
    """More groups than are drawn, which the page says."""
    groups = {f"block{i}": dict(lr=0.99**i * js.cosine(1e-3, 2_000_000)) for i in range(260)}
    rules = [*((f"block{i}/**", f"block{i}") for i in range(260)), ("**", "rest")]
    recipe = js.Recipe("adamw", dict(lr=js.cosine(1e-3, 2_000_000)), groups=groups, rules=rules, steps=2_000_000)
    text = js.report.page(recipe)
    assert "256 of 260 curves" in text
    assert len(text) < 3_300_000


def test_a_schedule_alone_and_a_chain_have_pages():
    text = js.report.page({"schedule": LR, "chain": optax.chain(js.clip_norm(1.0), js.sgd(lr=LR, momentum=0.9))})
    assert "all gradients together at norm 1" in text
    assert "From schedule to chain" in text


def test_the_points_of_a_log_are_steps_and_values():
    with pytest.raises(ValueError, match=r"log\['lr'\] must be \(steps, values\) of one length"):
        js.report.page(RECIPE, log={"lr": ([0, 1], [0.1])})


def test_parameters_add_their_table_and_what_lint_finds_in_them():
    params = {"body": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}, "head": {"kernel": jnp.ones((3, 3))}}
    text = js.report.page(js.Recipe("sgd", dict(lr=0.1, weight_decay=1e-4)), params)
    assert "3 parameters" in text
    assert "decay-on-bias-or-norm" in text  # which only the parameters tell


def luminance(color):
    channels = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4) @ (
        0.2126,
        0.7152,
        0.0722,
    )


@pytest.mark.parametrize("color", _page_figures.COLORS)
def test_curves_have_the_contrast_that_wcag_asks_of_graphics(color):
    assert 1.05 / (luminance(color) + 0.05) >= 3


@pytest.mark.parametrize("color", _html.COLORS.values())
def test_texts_have_the_contrast_that_wcag_asks_of_text(color):
    assert 1.05 / (luminance(color) + 0.05) >= 7


def test_with_every_group_frozen_there_is_nothing_to_show():
    recipe = js.Recipe("sgd", dict(lr=0.1), rules=[("**", "all")], groups={"all": None})
    with pytest.raises(ValueError, match="every group is frozen"):
        js.report.page(recipe)


FIGURE = """
const plot = Bokeh.documents[0].roots().flatMap(r => [...r.references()]).find(
  m => m.type === "Figure" && m.y_scale.type === "LinearScale");
"""
HOVER = f"""{FIGURE}
const view = Bokeh.index.find_one(plot);
const frame = view.frame ?? view.frame_view;
const box = view.canvas_view.el.getBoundingClientRect();
return [box.left + frame.x_scale.compute(arguments[0]), box.top + frame.y_scale.compute(arguments[1])];
"""
SHOWN = f"""{FIGURE}
const lines = plot.renderers.filter(r => r.glyph?.type === "Line");
return [lines.filter(r => r.visible).map(r => r.name), plot.x_range.start, plot.x_range.end];
"""
FIND = """
const found = [];
(function walk(node) {
  if (node.matches?.(arguments[0])) found.push(node);
  for (const child of node.children ?? []) walk(child);
  if (node.shadowRoot) walk(node.shadowRoot);
})(document.body);
return found;
""".replace("arguments[0]", "selector").replace("const found", "const selector = arguments[0]; const found")


@pytest.fixture(scope="module")
def browser(page, tmp_path_factory):
    from selenium import webdriver
    from selenium.webdriver.support.ui import WebDriverWait

    options = webdriver.ChromeOptions()
    flags = "headless=new no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-sync"
    for flag in f"{flags} disable-component-update window-size=1200,1400".split():
        options.add_argument(f"--{flag}")
    options.binary_location = shutil.which("chromium")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(page, encoding="utf-8")
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    with webdriver.Chrome(options=options, service=service) as browser:
        browser.get(path.as_uri())
        wait = WebDriverWait(browser, 60)
        wait.until(lambda b: b.execute_script("return !!window.Bokeh && Bokeh.documents.length"))
        wait.until(lambda b: b.execute_script("return Bokeh.documents[0].is_idle"))
        browser.wait = wait
        yield browser


def hovered(browser, step, value):
    """The text of the tooltip at a place of the linear figure of lr."""
    from selenium.webdriver.common.actions.action_builder import ActionBuilder

    x, y = browser.execute_script(HOVER, step, value)
    mouse = ActionBuilder(browser)
    mouse.pointer_action.move_to_location(int(x), int(y))
    mouse.perform()
    tip = f"return (() => {{{FIND}}})().map(e => e.shadowRoot?.textContent ?? e.textContent).join(' ')"
    browser.wait.until(lambda b: b.execute_script(tip, ".bk-Tooltip"))
    return browser.execute_script(tip, ".bk-Tooltip")


@pytest.mark.browser
def test_a_browser_shows_the_value_of_the_curve(browser):
    step = 700
    value = float(js.curves(RECIPE, [step])["bias"]["lr"][0])
    seen = hovered(browser, step, value)
    at, shown = int(re.search(r"step:?\s*(\d+)", seen)[1]), float(re.search(r"lr:?\s*([\d.e-]+)", seen)[1])
    assert abs(at - step) < 20
    assert shown == pytest.approx(float(js.curves(RECIPE, [at])["bias"]["lr"][0]), rel=1e-5)  # printed as %.6g
    assert float(re.search(r"epoch:?\s*([\d.]+)", seen)[1]) == pytest.approx(at / 100, abs=0.006)  # printed as 0.00


@pytest.mark.browser
def test_a_browser_shows_the_points_of_the_log(browser):
    seen = hovered(browser, 500, 0.05)
    assert "(log)" in seen
    assert re.search(r"step:?\s*500", seen)


@pytest.mark.browser
def test_groups_are_switched_and_steps_chosen_from_the_keyboard(browser):
    from selenium.webdriver.common.keys import Keys

    names, start, end = browser.execute_script(SHOWN)
    assert (names[0], len(names), start, end) == ("bias", 3, 0, 999)
    box = browser.execute_script(FIND, "input[type=checkbox]")[0]
    box.send_keys(Keys.SPACE)
    browser.wait.until(lambda b: "bias" not in b.execute_script(SHOWN)[0])
    box.send_keys(Keys.SPACE)
    browser.wait.until(lambda b: "bias" in b.execute_script(SHOWN)[0])
    handle = browser.execute_script(FIND, ".noUi-handle-lower")[0]
    handle.send_keys(Keys.PAGE_UP)
    browser.wait.until(lambda b: b.execute_script(SHOWN)[1] > 0)
    handle.send_keys(Keys.HOME)
    browser.wait.until(lambda b: b.execute_script(SHOWN)[1] == 0)


@pytest.mark.browser
def test_nothing_is_fetched_and_nothing_goes_wrong(browser):
    """After the tests above: no console error either, and a name in a file is not a program."""
    fetched = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert not [name for name in fetched if name.startswith("http")]
    assert browser.execute_script("return window.hacked") is None
    assert not browser.execute_script(FIND, "img[src=x]")
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert browser.execute_script("return document.documentElement.lang") == "en"
