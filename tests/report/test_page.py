"""The page of a recipe: what it holds, its size, and in a real browser the values it shows, without the network."""

import re
import shutil

import pytest

import jaxsched as js

LR = js.warmup(js.cosine(0.1, 1000), 100)
RECIPE = js.Recipe("sgd", dict(lr=LR, momentum=0.9), steps=1000, steps_per_epoch=100, notes=("<left out>",))


@pytest.fixture(scope="module")
def page():
    return js.report.page(RECIPE)


def test_it_is_one_file_that_needs_nothing_from_outside(page):
    assert page.startswith("<!DOCTYPE html>")
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']?(?:https?:)?//", page)
    assert len(page) < 2_000_000


def test_what_a_recipe_says_is_escaped(page):
    assert "&lt;left out&gt;" in page
    assert "<left out>" not in page


def test_several_recipes_are_drawn_over_each_other_with_their_differences(tmp_path):
    other = RECIPE.replace(hyperparameters=dict(lr=2.0 * LR, momentum=0.9))
    text = js.report.page({"a": RECIPE, "b": other}, path=tmp_path / "ab.html")
    assert "From a to b" in text
    assert (tmp_path / "ab.html").read_text(encoding="utf-8") == text


def test_many_groups_and_a_long_run_stay_small():
    groups = {f"block{i}": dict(lr=0.99**i * js.cosine(1e-3, 2_000_000)) for i in range(200)}
    rules = [*((f"block{i}/**", f"block{i}") for i in range(200)), ("**", "rest")]
    recipe = js.Recipe("adamw", dict(lr=js.cosine(1e-3, 2_000_000)), groups=groups, rules=rules, steps=2_000_000)
    assert len(js.report.page(recipe)) < 3_000_000


def test_with_every_group_frozen_there_is_nothing_to_show():
    recipe = js.Recipe("sgd", dict(lr=0.1), rules=[("**", "all")], groups={"all": None})
    with pytest.raises(ValueError, match="every group is frozen"):
        js.report.page(recipe)


HOVER = """
const plot = Bokeh.documents[0].roots().flatMap(r => [...r.references()]).find(
  m => m.type === "Figure" && m.y_scale.type === "LinearScale");
const view = Bokeh.index.find_one(plot);
const frame = view.frame ?? view.frame_view;
const box = view.canvas_view.el.getBoundingClientRect();
return [box.left + frame.x_scale.compute(arguments[0]), box.top + frame.y_scale.compute(arguments[1])];
"""
TOOLTIP = """
const texts = [];
(function walk(node) {
  if (node.classList?.contains("bk-Tooltip")) texts.push(node.shadowRoot?.textContent ?? node.textContent);
  for (const child of node.children ?? []) walk(child);
  if (node.shadowRoot) walk(node.shadowRoot);
})(document.body);
return texts.join(" ");
"""


@pytest.mark.browser
def test_a_browser_shows_the_value_of_the_curve(page, tmp_path):
    from selenium import webdriver
    from selenium.webdriver.common.actions.action_builder import ActionBuilder
    from selenium.webdriver.support.ui import WebDriverWait

    options = webdriver.ChromeOptions()
    flags = "headless=new no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-sync"
    for flag in f"{flags} disable-component-update window-size=1200,1400".split():
        options.add_argument(f"--{flag}")
    options.binary_location = shutil.which("chromium")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    with webdriver.Chrome(options=options, service=service) as browser:
        browser.get((tmp_path / "page.html").as_uri())
        WebDriverWait(browser, 60).until(lambda b: b.execute_script("return !!window.Bokeh && Bokeh.documents.length"))
        WebDriverWait(browser, 60).until(lambda b: b.execute_script("return Bokeh.documents[0].is_idle"))
        step = 500
        value = float(js.curves(RECIPE, [step])["weight"]["lr"][0])
        x, y = browser.execute_script(HOVER, step, value)
        mouse = ActionBuilder(browser)
        mouse.pointer_action.move_to_location(int(x), int(y))
        mouse.perform()
        WebDriverWait(browser, 60).until(lambda b: b.execute_script(TOOLTIP))
        seen = browser.execute_script(TOOLTIP)
        at, shown = int(re.search(r"step:?\s*(\d+)", seen)[1]), float(re.search(r"lr:?\s*([\d.e-]+)", seen)[1])
        assert abs(at - step) < 20
        assert shown == pytest.approx(float(js.curves(RECIPE, [at])["weight"]["lr"][0]), rel=1e-5)  # printed as %.6g
        fetched = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
        assert not [name for name in fetched if name.startswith("http")]
        assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
