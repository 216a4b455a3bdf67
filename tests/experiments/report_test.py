"""The page in a browser: headless Chromium, driven by Playwright."""

import os
import shutil

import pytest

from tests.experiments.pages import samples

CHROMIUM = os.environ.get("AESEG_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="The test needs Playwright: pip install -e '.[test]'.")
    if not CHROMIUM:
        pytest.skip("The test needs Chromium: apt-get install chromium, or set AESEG_CHROMIUM.")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    (folder / "page.html").write_text(samples.whole(folder), encoding="utf-8")
    return folder / "page.html"


@pytest.fixture
def opened(browser, file):
    """Return a function that opens the page; at the end, assert an empty console and no network requests."""
    contexts, said, asked = [], [], []

    def call(**how):
        contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **how}))
        page = contexts[-1].new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.as_uri())
        return page

    yield call
    for context in contexts:
        context.close()
    assert said == []
    assert {url for url in asked if not url.startswith("data:")} == {file.as_uri()}


def names(page):
    return page.eval_on_selector_all("#run0 .card:not([hidden])", "cards => cards.map(card => card.dataset.name)")


def cuts(page):
    """Return the clip paths of the first card's truth and prediction."""
    return page.eval_on_selector_all("#run0 .card:first-child :is(.truth, .prediction)", "layers => layers.map(one => one.style.clipPath)")


def test_the_worst_image_is_first_and_the_order_can_be_reversed(opened):
    page = opened()
    assert names(page) == [samples.EVIL, "a10", "b", "a9"]
    page.select_option("#run0 .sort", "best")
    assert names(page) == ["a9", "b", "a10", samples.EVIL]
    page.select_option("#run0 .sort", "name")
    assert [name for name in names(page) if name != samples.EVIL] == ["a9", "a10", "b"], "numbers count as numbers"


def test_a_class_filters_the_images_with_it_and_sorts_them_by_its_iou(opened):
    page = opened()
    page.select_option("#run0 .filter", "2")
    assert names(page) == [samples.EVIL, "a10", "a9"]
    assert page.locator("#run0 .card:first-child figcaption b").inner_text() == "20.0"
    assert "3 of 4 shown" in page.locator("#run0 .count").inner_text()
    page.select_option("#run0 .filter", "1")
    assert names(page) == ["b", samples.EVIL, "a10"]
    page.select_option("#run0 .filter", "")
    assert len(names(page)) == 4


def test_a_part_of_a_name_finds_images_and_an_empty_result_is_shown(opened):
    page = opened()
    page.fill("#run0 .search", "A1")
    assert names(page) == ["a10"]
    page.fill("#run0 .search", "nowhere")
    assert names(page) == []
    assert page.locator("#run0 .empty").is_visible()


def test_the_slider_moves_from_the_image_through_the_truth_to_the_prediction(opened):
    page = opened()
    slider = page.locator("#run0 .card:first-child .slider")
    assert cuts(page) == ["inset(0px 0px 0px 100%)", "inset(0px 0% 0px 0px)"], "the prediction is shown first"
    slider.fill("0")
    assert cuts(page) == ["inset(0px 100% 0px 0px)", "inset(0px 0px 0px 100%)"]
    slider.fill("1")
    assert cuts(page) == ["inset(0px 0% 0px 0px)", "inset(0px 0px 0px 100%)"]
    slider.fill("1.5")
    assert cuts(page) == ["inset(0px 0px 0px 50%)", "inset(0px 50% 0px 0px)"], "the prediction to the left of the truth"
    assert slider.get_attribute("aria-valuetext") == "prediction"


def test_the_screen_shows_the_layers(opened):
    """The right half is wrong: its truth is green, its prediction red."""
    page = opened()
    page.locator("#run0 .strength").fill("1")
    stack = page.locator("#run0 .card:first-child .stack")

    def colour():
        from io import BytesIO

        from PIL import Image

        shot = Image.open(BytesIO(stack.screenshot())).convert("RGB")
        return shot.getpixel((round(shot.width * 0.8), shot.height // 2))

    assert colour() == samples.CLASSES[1].colour
    page.locator("#run0 .card:first-child [data-to='1']").click()
    assert colour() == samples.CLASSES[2].colour
    page.locator("#run0 .card:first-child [data-to='0']").click()
    assert colour() not in {item.colour for item in samples.CLASSES}
    page.locator("#run0 .errors-shown").check()
    assert colour()[0] > 180


def test_the_keyboard_moves_and_compares(opened):
    page = opened()
    page.locator("#run0 .gallery").scroll_into_view_if_needed()
    page.locator("#run0 .sort").focus()
    page.locator("#run0 .errors-shown").focus()
    page.keyboard.press("2")
    assert cuts(page) == ["inset(0px 0% 0px 0px)", "inset(0px 0px 0px 100%)"]
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.closest('.card').dataset.name") == "a10"
    page.keyboard.press("ArrowRight")
    assert page.evaluate("Number(document.activeElement.value)") > 1
    page.keyboard.press("e")
    assert page.locator("#run0 .with-errors").count() == 1


def test_dragging_across_an_image_moves_its_slider(opened):
    page = opened()
    stack = page.locator("#run0 .card:first-child .stack")
    stack.scroll_into_view_if_needed()
    box = stack.bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 20)
    page.mouse.up()
    assert abs(float(page.locator("#run0 .card:first-child .slider").input_value()) - 0.5) < 0.05


def test_names_are_only_text(opened):
    page = opened()
    assert page.evaluate("window.attacked") is None
    assert page.locator(f"#run0 .card .name >> text={samples.EVIL[:12]}").first.get_attribute("title") == samples.EVIL
    assert page.locator("img[src=x]").count() == 0
    assert page.evaluate("document.scripts.length") == 1


def test_a_curve_shows_its_values_at_the_pointer(opened):
    page = opened()
    chart = page.locator("#curves .chart").first
    chart.locator("svg").hover(position={"x": 5, "y": 40})
    assert "2 at 1" in chart.locator(".readout").inner_text()
    chart.focus()
    page.keyboard.press("ArrowRight")
    assert "1 at 5" in chart.locator(".readout").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_the_reader_s_colours_and_text_can_be_read(opened, scheme):
    page = opened(color_scheme=scheme)
    style = "getComputedStyle(document.body).{}.match(/[0-9]+/g).slice(0, 3).map(Number)"
    ink, paper = (page.evaluate(style.format(name)) for name in ("color", "backgroundColor"))
    assert (sum(paper) > sum(ink)) == (scheme == "light")

    def luminance(colour):  # WCAG 2.2, relative luminance
        linear = [value / 255 / 12.92 if value <= 10 else ((value / 255 + 0.055) / 1.055) ** 2.4 for value in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(ink), luminance(paper)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) > 7


def test_a_phone_scrolls_down_and_not_sideways(opened):
    page = opened(viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.locator("#run0 .card:first-child").bounding_box()["width"] > 300
