"""The page of the server in a headless browser: Debian's chromium, driven by playwright (extra `browser`)."""

import contextlib
import shutil

import keras
import pytest

from tests.small_exports import LABELS, write_exports
from tests.test_serving_process import server

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a SavedModel is TensorFlow's"),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium (apt install chromium)"),
]
TASKS = ("classification", "tagging", "question-answering", "fill-mask", "embeddings")


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    return write_exports(tmp_path_factory.mktemp("pages"), TASKS)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright (extra `browser`)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Page:
    """A page of a fresh server, its faults collected."""

    def __init__(self, browser, port, width=1000):
        self.view = browser.new_page(viewport={"width": width, "height": 700})
        self.faults = []
        self.view.on("pageerror", lambda error: self.faults.append(str(error)))
        self.view.on("console", lambda line: line.type == "error" and self.faults.append(line.text))
        self.view.goto(f"http://127.0.0.1:{port}/")
        self.view.wait_for_selector("textarea")

    def ask(self, **texts):
        """Types the texts, presses Ctrl + Enter, and waits for the answer."""
        for name, text in texts.items():
            self.view.fill(f"#input-{name}", text)
        self.view.evaluate("document.getElementById('answer').replaceChildren()")
        self.view.press(f"#input-{next(iter(texts))}", "Control+Enter")
        self.view.wait_for_function("document.getElementById('answer').childElementCount > 0")
        return self.view.inner_text("#answer")

    def overflow(self):
        """Pixels that the page is wider than the window."""
        return self.view.evaluate("document.documentElement.scrollWidth - window.innerWidth")


@pytest.fixture
def pages(exports, browser):
    """Opens the page of a task; at the end no script may have failed."""
    opened = []
    with contextlib.ExitStack() as stack:

        def open_page(task, *options, **settings):
            _, port = stack.enter_context(server(exports[task], *options))
            opened.append(Page(browser, port, **settings))
            return opened[-1]

        yield open_page
        for page in opened:
            page.view.wait_for_load_state("networkidle")
            page.view.close()
    assert [page.faults for page in opened] == [[]] * len(opened)


def test_classification_by_keyboard(pages):
    page = pages("classification")
    assert "classification" in page.view.inner_text("#about")
    assert page.view.evaluate("document.activeElement.id") == "input-text"  # typing can begin at once
    answer = page.ask(text="the cat sat")
    rows = page.view.locator(".bars li")
    assert rows.count() == 3
    assert sum(label in answer for label in LABELS) == 3  # "<b>neither</b>" stands there as text
    shown = page.view.locator(".bars li span:last-child").all_inner_texts()
    shares = [float(text.removesuffix(" %")) for text in shown]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(100, abs=0.2)
    assert page.view.locator(".bars li.best").count() == 1
    for focused in ("BUTTON", "SELECT", "SELECT"):
        page.view.keyboard.press("Tab")
        assert page.view.evaluate("document.activeElement.tagName") == focused
    page.view.focus("button")
    page.view.evaluate("document.getElementById('answer').replaceChildren()")
    page.view.keyboard.press("Enter")
    page.view.wait_for_selector(".bars li")


def test_attention_of_a_chosen_layer_and_head(pages):
    page = pages("classification")
    page.ask(text="the cat sat")
    page.view.wait_for_selector("#attention svg")
    assert page.view.locator("#layer option").count() == 2
    assert page.view.locator("#head option").count() == 3
    readers = page.view.locator("#attention g[role=img]")
    assert readers.all_text_contents() == ["[CLS]", "the", "cat", "sat", "[SEP]"]
    before = page.view.locator("#attention g[role=img]").nth(1).get_attribute("aria-label")
    drawn = page.view.inner_html("#attention")
    with page.view.expect_response("**/v1/models/bert:attention"):
        page.view.select_option("#layer", "1")
    with page.view.expect_response("**/v1/models/bert:attention"):
        page.view.select_option("#head", "2")
    page.view.wait_for_function("html => document.getElementById('attention').innerHTML !== html", arg=drawn)
    assert before.startswith("the reads most from")
    every = page.view.locator("#attention line").count()
    readers.nth(2).focus()
    alone = page.view.locator("#attention line").count()
    assert 0 < alone < every
    starts = {line.get_attribute("y1") for line in page.view.locator("#attention line").all()}
    assert len(starts) == 1


def test_masks(pages):
    page = pages("fill-mask")
    answer = page.ask(text="the [MASK] sat on the [MASK]")
    assert ("Mask 1" in answer, "Mask 2" in answer) == (True, True)
    assert page.view.locator(".bars").count() == 2
    assert page.view.locator(".bars li").count() == 10
    assert "Write [MASK]" in page.ask(text="no mask")


def test_tags(pages):
    page = pages("tagging")
    text = "\U0001f600 the cat sat on the dog , good bad film ran the cat"
    page.ask(text=text)
    labels = page.view.locator("#answer mark small").all_inner_texts()
    assert labels
    assert set(labels) <= {"PER", "LOC"}
    marked = page.view.evaluate("Array.from(document.querySelectorAll('#answer mark')).map(m => m.firstChild.data)")
    assert all(part and part in text and part == part.strip() for part in marked)  # no half of a surrogate pair


def test_questions(pages):
    page = pages("question-answering")
    page.ask(question="was it good", context="\U0001f600 the film was good and the dog ran")
    answer = page.view.inner_text("#answer p")
    marked = page.view.inner_text("#answer mark")
    assert answer.startswith(marked + " (")
    assert answer.endswith(" %)")


def test_embeddings(pages):
    assert pages("embeddings").ask(text="the cat").startswith("24 numbers, length 1.0000: ")


def test_an_error_is_a_sentence(pages):
    page = pages("classification", "--max-text-bytes", "20")
    assert page.ask(text="x" * 30) == "Error: a text has 30 bytes; send at most 20"
    page.faults.clear()  # the browser itself notes the status 413
    assert "Error" not in page.ask(text="the cat")


@pytest.mark.parametrize("task", TASKS)
def test_a_narrow_screen_needs_no_scrolling_to_the_side(pages, task):
    page = pages(task, width=360)
    long_word = "m" * 300
    texts = {"text": f"the {long_word} [MASK] sat " * 3}
    if task == "question-answering":
        texts = {"question": f"was {long_word} good", "context": f"the {long_word} cat " * 3}
    page.ask(**texts)
    page.view.wait_for_selector("#attention svg")
    assert page.overflow() <= 0
    button = page.view.locator("button").bounding_box()
    assert button["x"] >= 0
    assert button["x"] + button["width"] <= 360
