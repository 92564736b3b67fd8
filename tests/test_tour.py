"""The notebook runs, and shows what it says."""

from pathlib import Path

import pytest

TOUR = Path(__file__).parents[1] / 'docs' / 'tour.ipynb'
LARGEST = 200_000  # bytes, pictures included


def test_tour_is_small() -> None:
    assert TOUR.stat().st_size < LARGEST


@pytest.mark.slow
def test_tour(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nbclient = pytest.importorskip('nbclient')
    pytest.importorskip('ipykernel')
    import nbformat

    root = str(TOUR.parents[1])
    monkeypatch.setenv('PYTHONPATH', root)
    monkeypatch.setenv('TMPDIR', str(tmp_path))
    tour = nbformat.read(TOUR, as_version=4)
    nbclient.NotebookClient(tour, timeout=900, kernel_name='python3').execute()
    outputs = [output for cell in tour.cells for output in cell.get('outputs', ())]
    texts = [o['data']['text/plain'] for o in outputs if 'data' in o]
    assert "('CoTrainingRunner', 'CoTrainingEncoderDecoder')" in texts
    (metrics,) = [text for text in texts if 'mIoU' in text]
    assert float(metrics.partition("'mIoU': ")[2].split(',')[0]) > 5
    assert sum('image/png' in o.get('data', {}) for o in outputs) == 2
