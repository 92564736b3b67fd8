import threading
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from conftest import load_tool

tool = load_tool('dataset_converters/ade20k')
COUNTS = dict.fromkeys(tool.COUNTS, 2)


def make_archive(path, extra=(), skip=()):
    with zipfile.ZipFile(path, 'w') as archive:
        for folder in COUNTS:
            suffix = 'jpg' if folder.startswith('images') else 'png'
            for i in range(2):
                name = f'{tool.ROOT}/{folder}/{i}.{suffix}'
                if name not in skip:
                    archive.writestr(name, f'{name} ' * 50)
        for name in (f'{tool.ROOT}/sceneCategories.txt', *extra):
            archive.writestr(name, 'text')
    return path


@pytest.fixture
def archive(tmp_path):
    return make_archive(tmp_path / 'ade.zip')


def prepare(tmp_path, *options):
    tool.main(['--out', str(tmp_path / 'ade'), *map(str, options)], COUNTS)
    return tmp_path / 'ade' / tool.ROOT


def refused(capsys, tmp_path, *options):
    with pytest.raises(SystemExit):
        prepare(tmp_path, *options)
    return capsys.readouterr().err


def test_archive(tmp_path, archive, capsys):
    root = prepare(tmp_path, '--archive', archive)
    assert not tool.missing(root, COUNTS)
    text = (root / 'images/training/1.jpg').read_text()
    assert text.startswith(f'{tool.ROOT}/images/training/1.jpg')
    archive.unlink()  # a second run needs nothing
    prepare(tmp_path, '--archive', archive)
    assert 'is ready: 8 files' in capsys.readouterr().out


def test_extraction_goes_on(tmp_path, archive):
    root = prepare(tmp_path, '--archive', archive)
    kept, cut = root / 'images/training/0.jpg', root / 'images/training/1.jpg'
    before, whole = kept.stat().st_mtime_ns, cut.read_bytes()
    cut.write_bytes(whole[:10])
    (root / 'annotations/validation/0.png').unlink()
    prepare(tmp_path, '--archive', archive)
    assert cut.read_bytes() == whole
    assert kept.stat().st_mtime_ns == before


def test_bad_archives(tmp_path, archive, capsys):
    assert 'no file' in refused(capsys, tmp_path, '--archive', tmp_path / 'no.zip')
    broken = tmp_path / 'broken.zip'
    broken.write_bytes(archive.read_bytes()[:500])
    assert 'not a complete .zip' in refused(capsys, tmp_path, '--archive', broken)
    few = make_archive(
        tmp_path / 'few.zip', skip=[f'{tool.ROOT}/images/validation/0.jpg']
    )
    assert 'has 1 files *.jpg in' in refused(capsys, tmp_path, '--archive', few)
    sly = make_archive(tmp_path / 'sly.zip', extra=[f'{tool.ROOT}/../../evil.txt'])
    assert 'evil.txt' in refused(capsys, tmp_path, '--archive', sly)
    assert not list(tmp_path.rglob('evil.txt'))


@pytest.fixture
def server(archive):
    """A server of the archive that honours ranges; yields its URL and what it saw."""
    content, seen = archive.read_bytes(), []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            wanted = self.headers.get('Range')
            seen.append(wanted)
            start = int(wanted[6:-1]) if wanted else 0
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if wanted else 200)
            self.send_header('Content-Length', str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start:])

        def log_message(self, *args):
            pass

    httpd = HTTPServer(('127.0.0.1', 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield f'http://127.0.0.1:{httpd.server_port}/ade.zip', seen, content
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.mark.parametrize('share', [0.0, 0.4, 1.0])
def test_download_goes_on(tmp_path, server, share):
    url, seen, content = server
    (tmp_path / 'ade').mkdir()
    part = tmp_path / 'ade' / f'{tool.ROOT}.zip.part'
    have = int(share * len(content))
    if have:
        part.write_bytes(content[:have])
    root = prepare(tmp_path, '--url', url)
    assert not tool.missing(root, COUNTS)
    assert seen == [f'bytes={have}-' if have else None]
    assert not part.exists()


def test_no_server(tmp_path, capsys):
    error = refused(capsys, tmp_path, '--url', 'http://127.0.0.1:9/ade.zip')
    assert '--archive PATH' in error
