"""No file that a tool opens as a checkpoint can run code, whichever way it is named."""

import os
from pathlib import Path
from types import ModuleType

import pytest
import torch


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """What is there once code of a file has run."""
    return tmp_path / 'it_ran'


@pytest.fixture
def evil(tmp_path: Path, mark: Path) -> str:
    """A file with weights, and an object that leaves the mark."""
    path = tmp_path / 'evil.pth'
    weights = {'backbone.some.weight': torch.ones(2)}
    torch.save(dict(state_dict=weights, extra=Evil(mark)), path)
    return str(path)


PRETRAINED = "{{'type':'Pretrained','checkpoint':'{}'}}"
WAYS = {
    'load_from': ['load_from={}'],
    'resume': ['load_from={}', 'resume=True'],
    'init_cfg of the model': [f'model.init_cfg={PRETRAINED}'],
    'init_cfg of the backbone': [f'model.backbone.init_cfg={PRETRAINED}'],
    'init_cfg of the head': [f'model.decode_head.init_cfg={PRETRAINED}'],
    'init_cfg with a prefix': [
        f'model.decode_head.init_cfg={PRETRAINED[:-2]},' + "'prefix':'backbone.'}}"
    ],
    'FlexibleRunner': ['load_from={}', 'runner_type=FlexibleRunner'],
}


@pytest.mark.parametrize('way', list(WAYS))
@pytest.mark.sweep(every=3)
def test_ways_to_name_a_file(
    train: ModuleType,
    config: Path,
    evil: str,
    mark: Path,
    way: str,
    capsys: pytest.CaptureFixture,
) -> None:
    options = [text.format(evil) for text in WAYS[way]]
    text = config.read_text() + '\n'
    for option in options:  # DictAction knows no dicts
        key, _, value = option.partition('=')
        target = ''.join(
            part if i == 0 else f'[{part!r}]' for i, part in enumerate(key.split('.'))
        )
        quoted = value if value[0] in '{T' else repr(value)
        text += f'{target} = {quoted}\n'
    config.write_text(text)
    with pytest.raises(SystemExit) as exit_:
        train.main([str(config)])
    assert exit_.value.code == 2
    assert not mark.exists()
    said = capsys.readouterr().err
    assert 'could run any code' in said
    assert '--trust-checkpoint' in said


def test_trusted(train: ModuleType, config: Path, evil: str, mark: Path) -> None:
    """The file does bring code: where it is trusted, it runs."""
    options = ['--cfg-options', f'load_from={evil}']
    with pytest.raises(SystemExit):  # its weights are of no model
        train.main([str(config), '--trust-checkpoint', *options])
    assert mark.exists()


def test_backbone_of_unknown_architecture(
    train: ModuleType, config: Path, evil: str, mark: Path
) -> None:
    """MMEngine loads what we have no format for."""
    text = config.read_text()
    text += 'model["backbone"] = dict(type="mmseg.UNet", base_channels=8, num_stages=2'
    text += ', strides=(1, 1), enc_num_convs=(1, 1), dec_num_convs=(1,), '
    text += 'downsamples=(True,), enc_dilations=(1, 1), dec_dilations=(1,))\n'
    text += 'model["decode_head"]["in_channels"] = [16, 8]\n'
    config.write_text(text)
    with pytest.raises(SystemExit) as exit_:
        train.main([str(config), '--backbone', evil])
    assert exit_.value.code == 2
    assert not mark.exists()


@pytest.mark.parametrize('tool', ['train', 'test'])
@pytest.mark.sweep(every=2)
def test_checkpoint_with_a_config(
    train: ModuleType,
    test_tool: ModuleType,
    config: Path,
    tmp_path: Path,
    mark: Path,
    tool: str,
) -> None:
    """Tensors and text are enough: MMEngine runs the text when it resumes."""
    train.main([str(config), '--cfg-options', 'train_cfg.max_iters=2'])
    path = tmp_path / 'w' / 'iter_2.pth'
    checkpoint = torch.load(path, weights_only=False)
    checkpoint['meta']['config'] = f'import os\nos.mkdir({str(mark)!r})\n'
    torch.save(checkpoint, path)
    if tool == 'train':
        train.main([str(config), '--resume', str(path)])
        assert (tmp_path / 'w' / 'iter_4.pth').is_file()
    else:
        test_tool.main([str(config), str(path)])
    assert not mark.exists()


def test_what_the_stack_opens_files_with() -> None:
    """The two names that are replaced are still those that MMEngine ends in."""
    from inspect import getsource

    from mmengine.runner import checkpoint

    for loader in ('local', 'ceph', 'openmmlab'):
        assert '_safe_torch_load(' in getsource(
            getattr(checkpoint, f'load_from_{loader}')
        )
    assert 'load_url(' in getsource(checkpoint.load_from_http)
