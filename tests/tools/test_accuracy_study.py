"""The accuracy study: its records, its choices and what it measures."""

import sys
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from unittest.mock import ANY

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / 'benchmarks' / 'accuracy'))
import choices
import photograph_results
import photograph_stages
import photograph_tables
import scene_stages
import short_tables
import study
import tables
import unlabelled_stages
import unlabelled_tables
from fashion import GREY, Batches, Images, subset, unlabelled_batches
from measures import calibration_error, fitted_temperature
from records import Records
from settings import KINDS, TEST_SEEDS, Run, SceneRun, UnlabelledPhotographRun

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings('ignore::DeprecationWarning')


def result(accuracy, curve=None):
    scores = dict(accuracy=accuracy, nll=1.0, ece=2.0, miou=accuracy)
    curve = [
        dict(iteration=i, **{**scores, 'accuracy': a}, views={})
        for i, a in enumerate(curve or [accuracy])
    ]
    return dict(
        validation=scores,
        test=scores,
        training=scores,
        curve=curve,
        averaged=dict(validation=scores, test=scores),
        depths={},
        step_ms=1.0,
    )


# ---- records ---------------------------------------------------------------------


def test_records_are_found_by_all_settings_but_the_stage(tmp_path):
    records = Records(tmp_path)
    run = Run('tuning', 3, rate=0.1, scheme=dict(type='Cosub', weight=0.5))
    records.add(run, result(80.0))
    again = Records(tmp_path)
    assert again[replace(run, stage='main')]['test']['accuracy'] == 80.0
    for name, value in asdict(run).items():
        if name != 'stage':
            other = dict(type='Cosub', weight=0.4) if name == 'scheme' else 'other'
            assert replace(run, **{name: other}) not in again, (name, value)


def test_a_line_cut_short_is_done_again(tmp_path):
    path = tmp_path / Run.FILE
    records = Records(tmp_path)
    first, second = Run('main', 1), Run('main', 2)
    records.add(first, result(1.0))
    records.add(second, result(2.0))
    path.write_bytes(path.read_bytes()[:-20])
    again = Records(tmp_path)
    assert first in again
    assert second not in again
    again.add(second, result(3.0))
    last = Records(tmp_path)
    assert last[first]['test']['accuracy'] == 1
    assert last[second]['test']['accuracy'] == 3


def test_what_is_recorded_is_not_run_again(tmp_path, monkeypatch, capsys):
    ran = []

    class Pool:
        def imap_unordered(self, work, runs):
            for run in runs:
                ran.append(run.key)
                yield run, result(80.0)

    class Context:
        def Pool(self, *args):  # noqa: N802
            return Pool()

    monkeypatch.setattr(study.multiprocessing, 'get_context', lambda _: Context())
    study.main(['--records', str(tmp_path)])
    files = [tmp_path / kind.FILE for kind in KINDS]
    lines = [line for file in files for line in file.read_text().splitlines()]
    assert len(ran) == len({*ran}) == len(lines)
    study.main(['--records', str(tmp_path)])
    assert len(ran) == len(lines)
    assert 'main: 0 of' in capsys.readouterr().out


# ---- choices ---------------------------------------------------------------------


def test_choices_go_by_the_end_of_the_validation_curve(tmp_path):
    records = Records(tmp_path)
    candidates = [Run('tuning', 100, rate=rate) for rate in (0.0, 0.1, 0.2)]
    curves = ([90, 70, 70, 72], [10, 80, 80, 80], [10, 79, 79, 84])
    for run, curve in zip(candidates, curves, strict=True):
        # The test split says otherwise, and is not asked.
        records.add(run, result(100 - curve[-1], curve))
    assert choices.tuned(records, candidates, [100]).rate == 0.2


def test_runs_that_choose_do_not_see_the_test_split():
    assert min(choices.TUNING) >= TEST_SEEDS > max(photograph_stages.SEEDS)


@pytest.mark.parametrize(
    'study', [unlabelled_stages.SCENES, unlabelled_stages.PHOTOGRAPHS]
)
def test_every_arm_with_unlabelled_images_is_found_by_its_settings(study, tmp_path):
    records = Records(tmp_path)
    for run in unlabelled_stages.rates(records, study):
        records.add(run, result(100 * run.rate))
    count = study.counts[0]
    for times in (1, unlabelled_stages.LONGER):
        runs = unlabelled_stages.main(
            records, count, study, times, unlabelled_stages.ARMS
        )
        assert {run.rate for run in runs} == {max(study.rates)}
        for arm, run in zip(unlabelled_stages.ARMS, runs, strict=False):
            assert unlabelled_tables.arm_of(run) == arm
            assert run.iterations == times * study.start.iterations
        for run in runs:
            records.add(run, result(float(run.seed)))
    # Steps take as long in all records, so equal compute is an equal length.
    as_long = unlabelled_stages.as_long(records, count, study)
    assert all(run in records for run in as_long)
    table = unlabelled_tables.scores(records, count, study)
    # Those of three times the length took longer.
    assert table.count('| 2.00 ± 1.96 |') == len(unlabelled_stages.ARMS)


# ---- data ------------------------------------------------------------------------


def images(count=40):
    pixels = torch.arange(28 * 28.0).view(1, 1, 28, 28) + 1
    return Images(pixels.repeat(count, 1, 1, 1), torch.arange(count) % 10)


def test_subsets():
    some = subset(images(100), 20, seed=1)
    assert some.labels.bincount().tolist() == [2] * 10
    assert subset(images(100), 0, seed=1).labels.numel() == 100


def test_batches_are_of_every_image_once_an_epoch():
    whole = images()
    whole.images[:, 0, 14, 14] = 1000 + torch.arange(40.0)  # a number for each
    batches = Batches(whole, 8, seed=0)
    seen = torch.cat([next(batches)[0].amax((1, 2, 3)) for _ in range(5)])
    assert sorted(seen.tolist()) == [1000 + i for i in range(40)]


def test_batches_are_flipped_and_moved():
    batches = Batches(images(), 40, seed=0)
    batch, _ = next(batches)
    original = images(1).images[0, 0]
    found = set()
    for image in batch[:, 0]:
        for flip in (False, True):
            for x in range(-2, 3):
                for y in range(-2, 3):
                    moved = torch.roll(
                        image.flip(-1) if flip else image, (y, x), (0, 1)
                    )
                    if torch.equal(moved[4:-4, 4:-4], original[4:-4, 4:-4]):
                        found.add((flip, x, y))
    assert {flip for flip, *_ in found} == {False, True}
    assert len(found) > 20


def test_the_strong_image_is_the_weak_one_with_other_values():
    whole = images()
    weak, strong = next(unlabelled_batches(whole, 8, seed=0))
    assert weak.shape == strong.shape == (8, 1, 28, 28)
    assert weak.dtype == strong.dtype
    assert not torch.equal(weak, next(Batches(whole, 8, seed=0))[0])
    for a, b in zip(weak, strong, strict=True):
        assert (b == GREY).sum() >= 12 * 12
        kept = (b != GREY) & (b > 0) & (b < 255)
        # Brighter pixels stay brighter, so nothing has moved.
        assert torch.corrcoef(torch.stack([a[kept], b[kept]]))[0, 1] > 0.5


def test_repeated_images_are_moved_anew():
    batch, labels = next(Batches(images(), 10, seed=0, repeats=2))
    assert len(batch) == 20
    assert torch.equal(labels[:10], labels[10:])
    assert not torch.equal(batch[:10], batch[10:])


# ---- measures --------------------------------------------------------------------


def test_calibration_error_by_hand():
    # Two sure and right, two at 0.75 of which one is right: (0 + 0.25) / 2 of them.
    sure, half = [1.0, 0.0], [0.75, 0.25]
    probabilities = torch.tensor([sure, sure, half, half])
    labels = torch.tensor([0, 0, 0, 1])
    assert calibration_error(probabilities, labels) == pytest.approx(12.5)


def test_report_pairs_seeds(tmp_path):
    records = Records(tmp_path)
    cosub = Run('main', 0, rate=0.1, scheme=choices.COSUB)
    for seed, (plain, other) in enumerate([(80.0, 81.0), (70.0, 71.0), (60.0, 61.0)]):
        records.add(Run('main', seed), result(plain))
        records.add(replace(cosub, seed=seed), result(other))
    groups = photograph_results.grouped(records, records.runs.values())
    table = photograph_tables.comparison(groups, 'plain, no drop path')
    line = next(line for line in table.splitlines() if 'cosub' in line)
    assert '| **+1.00 ± 0.00** |' in line
    assert '71.00 ± 24.84' in line


def test_a_document_is_filled_and_its_text_kept():
    text = 'a\n\n<!-- table b: c -->\nold\n<!-- /table -->\n\nd\n'
    found = tables.filled(text, {'b: c': '| 1 |\n'})
    assert found == 'a\n\n<!-- table b: c -->\n\n| 1 |\n\n<!-- /table -->\n\nd\n'
    assert tables.filled(found, {'b: c': '| 1 |\n'}) == found
    with pytest.raises(ValueError, match=r"No tables \['b: c'\]. There are \['e'\]"):
        tables.filled(text, {'e': ''})


@pytest.mark.parametrize(
    'page',
    [
        'README.md',
        'docs/accuracy.md',
        'docs/unlabelled.md',
        'docs/unlabelled_results.md',
    ],
)
def test_the_tables_of_the_docs_are_those_of_the_records(page):
    records = Records(ROOT / 'benchmarks' / 'results')
    text = (ROOT / page).read_text()
    assert tables.MARKED.search(text)
    assert tables.filled(text, tables.all_tables(records)) == text


def test_the_compute_matched_baseline_takes_as_long():
    """With unlabelled scenes, as the first page says it of all."""
    records = Records(ROOT / 'benchmarks' / 'results')
    shown, times = short_tables._of_unlabelled(records), {}
    for (_, iterations), runs in unlabelled_tables.results_of(records, 60).items():
        step = fmean(result['step_ms'] for result in runs.values())
        times |= {name: iterations * step for name, of in shown.items() if of == runs}
    assert times['compute-matched baseline'] == pytest.approx(times['cosub'], rel=0.1)


def test_tables_of_what_there_is(tmp_path):
    assert tables.all_tables(Records(tmp_path)) == {'photographs: choices': ANY}


# ---- a training ------------------------------------------------------------------


@pytest.mark.parametrize('scheme', [choices.COSUB, {}], ids=['cosub', 'plain'])
@pytest.mark.slow
def test_training(scheme):
    from mmengine.registry import init_default_scope
    from training import train

    init_default_scope('mmpretrain')
    bright = Images(
        torch.arange(40.0)[:, None, None, None] % 10 * 25 + torch.zeros(1, 1, 28, 28),
        torch.arange(40) % 10,
    )
    data = dict(training=bright, validation=bright, test=bright)
    run = Run(
        'main',
        0,
        rate=0.1,
        scheme=scheme,
        images=0,
        iterations=40,
        batch=20,
        width=16,
        lr=1e-2,
    )
    first, again = train(run, data), train(run, data)
    unlike = ('seconds', 'step_ms')
    assert {k: v for k, v in first.items() if k not in unlike} == {
        k: v for k, v in again.items() if k not in unlike
    }
    # Brightness is the class: it is learned, and better at the end than before.
    assert first['test']['accuracy'] > first['curve'][0]['accuracy']
    assert first['test']['accuracy'] > 25
    assert ('agreement' in first['curve'][-1]['views']) == bool(scheme)
    assert 'test' not in train(replace(run, seed=TEST_SEEDS, iterations=10), data)
    if scheme:
        some = UnlabelledPhotographRun(**asdict(run), unlabelled=dict(weight=1.0))
        views = train(replace(some, iterations=10, images=20), data)['curve'][-1][
            'views'
        ]
        assert 0 <= views['unlabelled_agreement'] <= 1


@pytest.mark.parametrize('network', ['swin', 'vit'])
@pytest.mark.slow
def test_segmentation(network, tmp_path, monkeypatch):
    import pretraining
    import scenes
    import segmentation
    from fashion_files import write_fashion

    monkeypatch.setattr('fashion.VALIDATION', 2)
    monkeypatch.setattr(pretraining, 'HELD_OUT', 4)
    monkeypatch.setattr(segmentation, 'COUNTS', dict(validation=2, test=3))
    data = scenes.SceneData(write_fashion(tmp_path / 'source'))
    start = SceneRun(
        'x',
        0,
        network,
        pretrain_iterations=2,
        pictures=8,
        rate=0.1,
        scheme=choices.COSUB,
        scenes=4,
        iterations=2,
        batch=2,
    )
    results = {
        how: segmentation.train(replace(start, pretrained=how), data, tmp_path)
        for how in scene_stages.PRETRAINED
    }
    assert {p.name for p in tmp_path.glob('*.pth')} == {
        f'{network}-{how}-0.1-32-8-2-0.pth' for how in ('plain', 'cosub')
    }
    # All of the backbone is carried over, and it makes a difference.
    assert results['plain']['matched'] == results['cosub']['matched'] == 1
    assert len({r['test']['nll'] for r in results.values()}) == 3
    assert 'agreement' in results['scratch']['curve'][-1]['views']
    # From its file: the same.
    again = segmentation.train(replace(start, pretrained='plain'), data, tmp_path)
    assert again['test'] == results['plain']['test']


def test_scores_of_scenes_by_hand():
    import segmentation

    # Four pixels of three classes; one of class 1 is taken for class 0.
    labels = torch.tensor([[[0, 1], [1, 2]]])
    predicted = torch.tensor([[[0, 0], [1, 2]]])
    logits = 50 * torch.nn.functional.one_hot(predicted, segmentation.CLASSES)
    found = segmentation.scores(logits.movedim(-1, 1).float(), labels)
    assert found['accuracy'] == pytest.approx(75)
    # Intersection over union: 1/2, 1/2 and 1; classes that are nowhere count nothing.
    assert found['miou'] == pytest.approx(100 * 2 / 3)
    assert found['ece'] == pytest.approx(25)
    assert found['nll'] == pytest.approx(50 / 4)


@pytest.mark.parametrize('shape', [(), (4, 5)])
def test_the_fitted_temperature_is_that_of_the_labels(shape):
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(20000 // max(len(shape) * 10, 1), 6, *shape)
    shares = (logits / 1.7).softmax(1).movedim(1, -1)
    flat = torch.multinomial(shares.reshape(-1, 6), 1, generator=generator)
    labels = flat.view(shares.shape[:-1])
    assert fitted_temperature(logits, labels) == pytest.approx(1.7, rel=0.05)


@pytest.mark.parametrize('network', ['swin', 'vit'])
def test_larger_networks_are_as_wide_as_they_say(network):
    import scene_models
    from mmengine.registry import DefaultScope

    run = replace(
        SceneRun('x', 0, network), **scene_stages.NETWORKS[f'larger {network}']
    )
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = scene_models.segmentor(run)
    features = model.extract_feat(torch.zeros(1, 3, run.size, run.size))
    wide = [96, 192, 384] if network == 'swin' else [384] * 3
    assert [x.shape[1] for x in features] == wide
    assert model.backbone.embed_dims == {'swin': 96, 'vit': 384}[network]
