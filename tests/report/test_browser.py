"""The page in a real browser: offline, on a phone, by keyboard, light and dark."""

import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mmcosub.report import make_report

playwright = pytest.importorskip(
    'playwright.sync_api', reason='needs Playwright: pip install playwright'
)
NAMES = ('chromium', 'chromium-browser', 'google-chrome')
EXECUTABLE = next((path for name in NAMES if (path := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(
    EXECUTABLE is None,
    reason='needs Chromium to open the page in (apt-get install chromium)',
)
DESKTOP, PHONE = 1280, 360

# Texts whose contrast with what lies behind them is under WCAG's 4.5, and the contrast.
# What comes from color-mix() is drawn to be measured.
CONTRASTS = """(() => {
  const canvas = document.createElement('canvas').getContext('2d');
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const luminance = (c) => [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => {
    const s = c[i] / 255;
    return sum + weight * (s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4);
  }, 0);
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const c = rgba(getComputedStyle(e).backgroundColor);
      if (c[3] === 255) return c;
    }
  };
  const low = [];
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || !e.checkVisibility()) continue;
    const style = getComputedStyle(e);
    const colour = e.closest('svg') ? style.fill : style.color;
    const pair = [rgba(colour), behind(e)].map(luminance).sort((a, b) => b - a);
    const contrast = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (contrast < 4.5) low.push([e.outerHTML.slice(0, 120), contrast]);
  }
  return low;
})()"""


@pytest.fixture(scope='module')
def page(
    cosub_run: Path, plain_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp('page')
    again = folder / 'another-seed'
    again.symlink_to(plain_run)
    make_report([plain_run, cosub_run, again], folder / 'report.html')
    return folder / 'report.html'


@pytest.fixture(scope='module')
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(
            executable_path=EXECUTABLE, args=['--no-sandbox']
        )
        yield launched
        launched.close()


@pytest.fixture(params=[DESKTOP, PHONE], ids=['desktop', 'phone'])
def width(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture
def show(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a file in a tab; what the tab asks for and complains of is noted."""
    contexts = []

    def opened(page: Path, width: int = DESKTOP, scheme: str = 'light') -> Any:
        context = browser.new_context(
            viewport=dict(width=width, height=900),
            color_scheme=scheme,
            is_mobile=width < 600,
        )
        contexts.append(context)
        tab = context.new_page()
        tab.requested, tab.problems = [], []
        tab.on('request', lambda request: tab.requested.append(request.url))
        tab.on('console', lambda message: tab.problems.append(message.text))
        tab.on('pageerror', lambda error: tab.problems.append(str(error)))
        tab.goto(page.as_uri())
        return tab

    yield opened
    for context in contexts:
        context.close()


def test_nothing_is_fetched_and_nothing_goes_wrong(
    show: Callable[..., Any], page: Path, width: int
) -> None:
    tab = show(page, width)
    fetched = [url for url in tab.requested if not url.startswith('data:')]
    assert fetched == [page.as_uri()]
    assert tab.problems == []


def test_a_browser_would_say_what_goes_wrong(
    show: Callable[..., Any], page: Path, tmp_path: Path
) -> None:
    """So that the test above can fail."""
    text = page.read_text().replace('</body>', '<script>a</script><img src="b.png">')
    (tmp_path / 'report.html').write_text(text)
    problems = show(tmp_path / 'report.html').problems
    assert len(problems) == 2
    assert all('Content Security Policy' in each for each in problems)


def test_nothing_lies_beyond_the_side(
    show: Callable[..., Any], page: Path, width: int
) -> None:
    tab = show(page, width)
    tab.evaluate('document.querySelectorAll("details").forEach((d) => d.open = 1)')
    assert tab.evaluate('document.documentElement.scrollWidth') == width
    # Nothing smaller than what can be read, in drawings as they are scaled neither.
    sizes = """[...document.querySelectorAll('svg text')].map(
        (t) => parseFloat(getComputedStyle(t).fontSize) * t.getScreenCTM().a)"""
    assert min(tab.evaluate(sizes)) >= 10


def test_light_and_dark(show: Callable[..., Any], page: Path, width: int) -> None:
    means = {}
    for scheme in ('light', 'dark'):
        tab = show(page, width, scheme)
        data = np.frombuffer(tab.screenshot(), np.uint8)
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert picture.std() > 10  # not blank
        assert tab.evaluate(CONTRASTS) == []
        means[scheme] = picture.mean()
    assert means['light'] > 200
    assert means['dark'] < 60


def test_by_keyboard(show: Callable[..., Any], page: Path) -> None:
    tab = show(page)
    tab.keyboard.press('Tab')
    focused = 'document.activeElement.outerHTML.slice(0, 60)'
    assert 'class="skip"' in tab.evaluate(focused)
    outline = 'getComputedStyle(document.activeElement).outlineStyle'
    assert tab.evaluate(outline) == 'solid'
    assert tab.evaluate('document.activeElement.getBoundingClientRect().top') >= 0
    tab.keyboard.press('Enter')
    assert tab.evaluate('location.hash') == '#main'
    # All that scrolls or opens can be got to.
    for _ in range(4):
        tab.keyboard.press('Tab')
    assert tab.evaluate('document.activeElement.closest("main") !== null')
    unreachable = """[...document.querySelectorAll('.scroll')].filter(
        (e) => e.tabIndex < 0 || !e.getAttribute('aria-label')).length"""
    assert tab.evaluate(unreachable) == 0


def test_a_run_can_be_hidden(show: Callable[..., Any], page: Path) -> None:
    tab = show(page)
    shown = """[0, 1].map((i) => [...document.querySelectorAll('main .run-' + i)]
        .some((e) => getComputedStyle(e).display !== 'none'))"""
    assert tab.evaluate(shown) == [True, True]
    tab.focus('#show-0')
    tab.keyboard.press('Space')
    assert tab.evaluate(shown) == [False, True]


def test_runs_can_be_sorted(show: Callable[..., Any], page: Path) -> None:
    """By numbers, unknown ones last; by keyboard, too."""
    tab = show(page)
    cells = """[...document.querySelectorAll('.sortable tbody tr')].map(
        (row) => row.cells[1].textContent)"""
    tab.evaluate("""['1,000 a', '–', '9.5 a'].forEach((text, i) => {
        document.querySelectorAll('.sortable tbody tr')[i].cells[1].textContent = text;
    })""")
    button = tab.locator('.sortable thead button').nth(1)
    button.click()
    assert tab.evaluate(cells) == ['9.5 a', '1,000 a', '–']
    button.press('Enter')
    assert tab.evaluate(cells) == ['1,000 a', '9.5 a', '–']
    assert tab.locator('[aria-sort=descending]').count() == 1
    tab.locator('.sortable thead button', has_text='method').click()
    methods = tab.locator('.sortable tbody td').all_inner_texts()
    found = [text for text in methods if text in ('Cosub', 'baseline')]
    assert found == ['baseline', 'baseline', 'Cosub']
    assert tab.locator('[aria-sort]').count() == 1


def test_names_and_order_of_headings(show: Callable[..., Any], page: Path) -> None:
    tab = show(page)
    nameless = """[...document.querySelectorAll('img, input, [role=region], section')]
        .filter((e) => !(e.alt || e.labels?.length || e.getAttribute('aria-label')
            || e.getAttribute('aria-labelledby'))).length"""
    assert tab.evaluate(nameless) == 0
    levels = '[...document.querySelectorAll("h1,h2,h3,h4")].map((h) => +h.tagName[1])'
    found = tab.evaluate(levels)
    assert found[0] == 1
    assert all(b - a <= 1 for a, b in pairwise(found))
    ids = tab.evaluate('[...document.querySelectorAll("[id]")].map((e) => e.id)')
    assert len(ids) == len(set(ids))
