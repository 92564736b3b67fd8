"""Which checkpoints are a model's."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from mmcosub.checkpoints import (
    load_for_prediction,
    load_to_train,
    overlap,
    read_checkpoint,
    weights,
)


def model() -> nn.Module:
    """A model with two heads, only one of them for predicting."""
    parts = dict(
        backbone=nn.Linear(2, 3),
        decode_head=nn.Linear(3, 4),
        auxiliary_head=nn.Linear(3, 4),
    )
    return nn.ModuleDict(parts)


def state(scale: float = 1.0) -> dict[str, torch.Tensor]:
    """Its weights, all of one value."""
    return {k: torch.full_like(v, scale) for k, v in model().state_dict().items()}


def test_loads_everything() -> None:
    target = model()
    prefixed = {f'module.{k}': v for k, v in state(2.0).items()}
    load_for_prediction(target, dict(state_dict=prefixed), 'a.pth')
    assert all((v == 2.0).all() for v in target.state_dict().values())


def test_auxiliary_head_may_be_missing_and_others_unused(
    capsys: pytest.CaptureFixture,
) -> None:
    given = {k: v for k, v in state().items() if not k.startswith('auxiliary')}
    given['ema.weight'] = torch.ones(1)
    load_for_prediction(model(), given, 'a.pth')
    said = ''.join(capsys.readouterr())
    assert 'a.pth has weights that the model does not have: ema.weight' in said


def test_missing() -> None:
    given = {k: v for k, v in state().items() if not k.startswith('decode')}
    with pytest.raises(ValueError, match=r'lacks 2 .* decode_head\.bias, decode_head'):
        load_for_prediction(model(), given, 'a.pth')


def test_shape() -> None:
    given = {**state(), 'decode_head.weight': torch.ones(9, 3)}
    with pytest.raises(ValueError, match=r'size mismatch for decode_head\.weight'):
        load_for_prediction(model(), given, 'a.pth')


def test_overlap() -> None:
    backbone = {k: v for k, v in state().items() if k.startswith('backbone')}
    load_to_train(model(), backbone, 'backbone.pth')
    given = {**backbone, **{f'x.{i}': torch.ones(1) for i in range(3)}}
    with pytest.raises(ValueError, match=r'only 2 of its 5 weights .* x\.0, x\.1'):
        load_to_train(model(), given, 'other.pth')


def other_classes() -> dict[str, torch.Tensor]:
    """Weights of a model of six classes without auxiliary head."""
    given = {k: v for k, v in state(2.0).items() if not k.startswith('auxiliary')}
    heads = {'weight': torch.ones(6, 3), 'bias': torch.ones(6)}
    return given | {f'decode_head.{k}': v for k, v in heads.items()}


def test_head_of_other_shapes_starts_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(overlap, 'print_log', lambda text, _: said.append(text))
    target = model()
    before = {k: v.clone() for k, v in target.state_dict().items()}
    load_to_train(target, other_classes(), 'a.pth')
    for name, value in target.state_dict().items():
        loaded = name.startswith('backbone')
        assert torch.equal(value, state(2.0)[name] if loaded else before[name])
    assert 'decode_head.bias, decode_head.weight start afresh.' in said[0]
    assert 'a.pth has no auxiliary_head.bias, auxiliary_head.weight.' in said[1]
    assert len(said) == 2


def test_taken_set_of_weights_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a run with averages, to start another from; a resumed one takes both."""
    said: list[str] = []
    monkeypatch.setattr(weights, 'print_log', lambda text, _: said.append(text))
    trained = {f'module.{k}': v for k, v in state(1.0).items()}
    both = dict(
        state_dict=state(2.0), ema_state_dict={**trained, 'steps': torch.tensor(3)}
    )
    for resumed in (True, False):
        target = model()
        load_to_train(target, both, 'a.pth', resumed=resumed)
        assert all((v == 2.0).all() for v in target.state_dict().values())
    assert said == [
        'a.pth has 2 sets of weights: state_dict (averaged), ema_state_dict. Taken: '
        'state_dict; mmcosub publish-model --no-ema saves the trained ones.'
    ]
    load_to_train(model(), dict(state_dict=state()), 'a.pth')
    assert len(said) == 1


@pytest.mark.parametrize('load', [load_to_train, load_for_prediction])
def test_weights_that_are_no_numbers(load: Callable) -> None:
    with pytest.raises(ValueError, match=r'a\.pth has 6 weights that are not finite'):
        load(model(), dict(state_dict=state(torch.nan)), 'a.pth')


class Segmentor(nn.Module):
    """A model whose backbone has parts that are named as heads are."""

    def __init__(self, part: str, width: int) -> None:
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.add_module(part, nn.Linear(2, width))
        self.decode_head = nn.Linear(3, 4)


@pytest.mark.parametrize(
    'part', ['multihead_attn', 'se_fc', 'head', 'fc', 'classifier', 'conv_seg']
)
def test_parts_of_the_backbone_are_no_heads(part: str) -> None:
    given = Segmentor(part, 3).state_dict()
    with pytest.raises(ValueError, match=rf'mismatch for backbone\.{part}\.bias: '):
        load_to_train(Segmentor(part, 5), given, 'a.pth')


def test_resuming_takes_no_other_shapes() -> None:
    target = model()
    before = {k: v.clone() for k, v in target.state_dict().items()}
    with pytest.raises(ValueError, match=r'weight differ .*load_from=a.pth'):
        load_to_train(target, other_classes(), 'a.pth', resumed=True)
    assert all(torch.equal(v, before[k]) for k, v in target.state_dict().items())
    load_to_train(target, state(3.0), 'a.pth', resumed=True)
    assert all((v == 3.0).all() for v in target.state_dict().values())


@pytest.mark.parametrize('part', ['backbone', 'decode_head', 'auxiliary_head'])
def test_resuming_takes_nothing_less_or_more(part: str) -> None:
    less = {k: v for k, v in state().items() if not k.startswith(part)}
    said = rf'it lacks {part}\.bias, {part}\.weight\. .*load_from=a\.pth'
    with pytest.raises(ValueError, match=said):
        load_to_train(model(), less, 'a.pth', resumed=True)
    more = {**state(), f'{part}.scale': torch.ones(1)}
    with pytest.raises(ValueError, match=rf'it also has {part}\.scale\. '):
        load_to_train(model(), more, 'a.pth', resumed=True)


@pytest.mark.parametrize(
    ('dtype', 'only_resuming'),
    [
        (torch.int64, False),
        (torch.bool, False),
        (torch.complex64, False),
        (torch.float8_e4m3fn, False),
        (torch.float16, True),
        (torch.bfloat16, True),
        (torch.float64, True),
    ],
)
def test_other_data_types(dtype: torch.dtype, only_resuming: bool) -> None:
    """Refused where they cannot stand for weights; a run goes on with its own only."""
    given = state()
    given['decode_head.bias'] = given['decode_head.bias'].to(dtype)
    said = rf'decode_head\.bias is {dtype} where the model has torch\.float32'
    with pytest.raises(ValueError, match=said):
        load_to_train(model(), given, 'a.pth', resumed=True)
    for load in (load_to_train, load_for_prediction):
        if only_resuming:
            target = model()
            load(target, given, 'a.pth')
            assert (target.decode_head.bias == 1).all()
            continue
        with pytest.raises(ValueError, match=said):
            load(model(), given, 'a.pth')


def test_counts_are_whole_numbers() -> None:
    norm = nn.ModuleDict(dict(norm=nn.BatchNorm1d(2)))
    given = norm.state_dict()
    given['norm.num_batches_tracked'] = torch.tensor(3.0)
    with pytest.raises(ValueError, match=r'tracked is torch\.float32 where'):
        load_to_train(norm, given, 'a.pth')


def test_not_there(tmp_path: Path) -> None:
    torch.save(state(), tmp_path / 'here.pth')
    with pytest.raises(ValueError, match=r"No checkpoint file .*\['here\.pth'\]"):
        read_checkpoint(str(tmp_path / 'there.pth'))


@pytest.mark.parametrize('content', [b'', b'not a checkpoint', b'PK\x03\x04'])
def test_unreadable(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / 'a.pth'
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r'a\.pth (cannot be read as|is not) a checkpoint'
    ):
        read_checkpoint(str(path))


def test_no_weights(tmp_path: Path) -> None:
    torch.save(dict(meta=1), tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='has no weights'):
        read_checkpoint(str(tmp_path / 'a.pth'))
