"""The page in a real browser: offline, on a phone, by keyboard, light and dark."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from report.chromium import Chromium, find_chromium

from mmcosub.report import make_report

EXECUTABLE = find_chromium()
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
    make_report([plain_run, cosub_run, again], folder / 'report.html', run_config=True)
    return folder / 'report.html'


@pytest.fixture(scope='module')
def browser(page: Path) -> Iterator[Chromium]:
    assert EXECUTABLE is not None
    with Chromium(EXECUTABLE) as browser:
        yield browser


@pytest.fixture(params=[DESKTOP, PHONE], ids=['desktop', 'phone'])
def width(request: pytest.FixtureRequest) -> int:
    return request.param


def picture(browser: Chromium) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(browser.screenshot(), np.uint8), cv2.IMREAD_COLOR)


def test_nothing_is_fetched_and_nothing_goes_wrong(
    browser: Chromium, page: Path, width: int
) -> None:
    browser.show(width)
    browser.requests.clear()
    browser.open(page)
    assert browser.requests == [page.as_uri()]
    assert browser.problems == []
    broken = '[...document.images].filter((i) => !i.complete || !i.naturalWidth).length'
    assert browser.evaluate(broken) == 0
    assert browser.evaluate('document.images.length') > 8


def test_a_browser_would_say_what_goes_wrong(
    browser: Chromium, page: Path, tmp_path: Path
) -> None:
    """So that the test above can fail."""
    text = page.read_text().replace('</body>', '<script>a</script><img src="b.png">')
    (tmp_path / 'report.html').write_text(text)
    browser.open(tmp_path / 'report.html')
    assert len(browser.problems) == 2
    assert all('Content Security Policy' in each for each in browser.problems)
    browser.problems.clear()


def test_nothing_lies_beyond_the_side(
    browser: Chromium, page: Path, width: int
) -> None:
    browser.show(width)
    browser.open(page)
    browser.evaluate('document.querySelectorAll("details").forEach((d) => d.open = 1)')
    assert browser.evaluate('document.documentElement.scrollWidth') == width
    # Nothing smaller than what can be read, in drawings as they are scaled neither.
    sizes = """[...document.querySelectorAll('svg text')].map(
        (t) => parseFloat(getComputedStyle(t).fontSize) * t.getScreenCTM().a)"""
    assert min(browser.evaluate(sizes)) >= 10


def test_light_and_dark(browser: Chromium, page: Path, width: int) -> None:
    seen = {}
    for scheme in ('light', 'dark'):
        browser.show(width, scheme=scheme)
        browser.open(page)
        seen[scheme] = picture(browser)
        assert seen[scheme].std() > 10  # not blank
        assert browser.evaluate(CONTRASTS) == []
    assert seen['light'].mean() > 200
    assert seen['dark'].mean() < 60


def test_by_keyboard(browser: Chromium, page: Path) -> None:
    browser.show(DESKTOP)
    browser.open(page)
    focused = 'document.activeElement.outerHTML.slice(0, 60)'
    browser.press('Tab', 9)
    assert 'class="skip"' in browser.evaluate(focused)
    outline = 'getComputedStyle(document.activeElement).outlineStyle'
    assert browser.evaluate(outline) == 'solid'
    assert browser.evaluate('document.activeElement.getBoundingClientRect().top') >= 0
    browser.press('Enter', 13, text='\r')
    assert browser.evaluate('location.hash') == '#main'
    # All that scrolls or opens can be got to.
    for _ in range(4):
        browser.press('Tab', 9)
    assert browser.evaluate('document.activeElement.closest("main") !== null')
    unreachable = """[...document.querySelectorAll('.scroll')].filter(
        (e) => e.tabIndex < 0 || !e.getAttribute('aria-label')).length"""
    assert browser.evaluate(unreachable) == 0


def test_a_run_can_be_hidden(browser: Chromium, page: Path) -> None:
    browser.show(DESKTOP)
    browser.open(page)
    shown = """[0, 1].map((i) => [...document.querySelectorAll('main .run-' + i)]
        .some((e) => getComputedStyle(e).display !== 'none'))"""
    assert browser.evaluate(shown) == [True, True]
    browser.evaluate('document.querySelector("#show-0").focus()')
    browser.press(' ', 32, text=' ')
    assert browser.evaluate(shown) == [False, True]


def test_names_and_order_of_headings(browser: Chromium, page: Path) -> None:
    browser.open(page)
    nameless = """[...document.querySelectorAll('img, input, [role=region], section')]
        .filter((e) => !(e.alt || e.labels?.length || e.getAttribute('aria-label')
            || e.getAttribute('aria-labelledby'))).length"""
    assert browser.evaluate(nameless) == 0
    levels = '[...document.querySelectorAll("h1,h2,h3,h4")].map((h) => +h.tagName[1])'
    found = browser.evaluate(levels)
    assert found[0] == 1
    assert all(b - a <= 1 for a, b in pairwise(found))
    names = '[...document.querySelectorAll("[id]")].map((e) => e.id)'
    ids = browser.evaluate(names)
    assert len(ids) == len(set(ids))
