"""A headless Chromium, driven by its DevTools protocol over a pair of pipes."""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

NAMES = ('chromium', 'chromium-browser', 'google-chrome')
# The protocol has the browser read from 3 and write to 4.
LAUNCH = """
import fcntl, os, sys
high = [fcntl.fcntl(int(pipe), fcntl.F_DUPFD, 10) for pipe in sys.argv[1:3]]
for pipe, wanted in zip(high, (3, 4)):
    os.dup2(pipe, wanted)
os.execv(sys.argv[3], sys.argv[3:])
"""


def find_chromium() -> str | None:
    """The browser of the distribution, if there is one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Chromium:
    """One page of a headless browser that notes what goes wrong.

    Args:
        executable (str): The browser.
    """

    def __init__(self, executable: str) -> None:
        self.problems: list[str] = []
        """Messages of the console, errors, and what was blocked."""
        self.requests: list[str] = []
        """What was asked for, data inside the page apart."""
        self._numbers = count(1)
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_browser, self._to = os.pipe()
        self._from, from_browser = os.pipe()
        flags = ['--headless=new', '--no-sandbox', '--disable-gpu', '--hide-scrollbars']
        flags += ['--remote-debugging-pipe', f'--user-data-dir={self._profile.name}']
        pipes = (to_browser, from_browser)
        self._process = subprocess.Popen(
            [sys.executable, '-c', LAUNCH, *map(str, pipes), executable, *flags],
            pass_fds=pipes,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for pipe in pipes:
            os.close(pipe)
        self._rest = b''
        self._session: str | None = None
        self._loaded = False

    def __enter__(self) -> 'Chromium':
        with ExitStack() as stack:
            stack.callback(self._close)
            target = self.call('Target.createTarget', url='about:blank')['targetId']
            attached = self.call('Target.attachToTarget', targetId=target, flatten=True)
            self._session = attached['sessionId']
            for domain in ('Page', 'Runtime', 'Log', 'Network'):
                self.call(f'{domain}.enable')
            stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def _close(self) -> None:
        self._process.terminate()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)
        self._profile.cleanup()

    def call(self, method: str, **params: Any) -> dict:
        """Call a method of the protocol; its result."""
        number = next(self._numbers)
        message = dict(id=number, method=method, params=params)
        if self._session:
            message['sessionId'] = self._session
        os.write(self._to, json.dumps(message).encode() + b'\0')
        while True:
            answer = self._next()
            if answer.get('id') == number:
                assert 'error' not in answer, answer
                return answer['result']

    def open(self, page: Path) -> None:
        """Open a file, and wait until all of it is there."""
        self._loaded = False
        self.call('Page.navigate', url=page.resolve().as_uri())
        while not self._loaded:
            self._next()

    def show(self, width: int, height: int = 900, scheme: str = 'light') -> None:
        """Set the size of the window, and whether it is light or dark."""
        size = dict(width=width, height=height, deviceScaleFactor=1)
        self.call('Emulation.setDeviceMetricsOverride', mobile=width < 600, **size)
        scheme_of_page = dict(name='prefers-color-scheme', value=scheme)
        self.call('Emulation.setEmulatedMedia', features=[scheme_of_page])

    def evaluate(self, expression: str) -> Any:
        """Value of an expression in the page."""
        answer = self.call(
            'Runtime.evaluate', expression=expression, returnByValue=True
        )
        assert 'exceptionDetails' not in answer, answer
        return answer['result'].get('value')

    def press(self, key: str, code: int, text: str = '') -> None:
        """Press a key, which may write something."""
        named = dict(key=key, windowsVirtualKeyCode=code)
        self.call('Input.dispatchKeyEvent', type='keyDown', text=text, **named)
        self.call('Input.dispatchKeyEvent', type='keyUp', **named)

    def screenshot(self) -> bytes:
        """A picture of the window, as PNG."""
        return base64.b64decode(self.call('Page.captureScreenshot')['data'])

    def _next(self) -> dict:
        """The next message, with what it says of the page noted."""
        while b'\0' not in self._rest:
            read = os.read(self._from, 1 << 20)
            if not read:
                raise EOFError('The browser has ended.')
            self._rest += read
        text, _, self._rest = self._rest.partition(b'\0')
        message = json.loads(text)
        params = message.get('params', {})
        match message.get('method'):
            case 'Page.loadEventFired':
                self._loaded = True
            case 'Runtime.consoleAPICalled' | 'Runtime.exceptionThrown':
                self.problems.append(json.dumps(params)[:500])
            case 'Log.entryAdded':
                self.problems.append(params['entry']['text'])
            case 'Network.requestWillBeSent':
                url = params['request']['url']
                if not url.startswith('data:'):
                    self.requests.append(url)
        return message
