"""SegFormer's checkpoints: the names of its authors, of Transformers and of mmseg."""

import re
import warnings

import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

from mmcosub.checkpoints import (
    convert_checkpoint,
    load_backbone,
)

WIDTHS, HEADS, DEPTHS, RATIOS = (
    (8, 16, 24, 32),
    (1, 2, 3, 4),
    (2, 1, 1, 1),
    (8, 4, 2, 1),
)


class Attention(nn.Module):
    """The authors': keys and values of a smaller map."""

    def __init__(self, width, heads, ratio):
        super().__init__()
        self.heads = heads
        self.q, self.kv = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)
        self.ratio = ratio
        if ratio > 1:
            self.sr = nn.Conv2d(width, width, ratio, ratio)
            self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x, size):
        batch, count, width = x.shape
        small = x
        if self.ratio > 1:
            image = x.transpose(1, 2).reshape(batch, width, *size)
            small = self.norm(self.sr(image).flatten(2).transpose(1, 2))
        q = self.q(x).view(batch, count, self.heads, -1).transpose(1, 2)
        kv = self.kv(small).view(batch, -1, 2, self.heads, width // self.heads)
        k, v = kv.permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) / (width // self.heads) ** 0.5).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(batch, count, width))


class MLP(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dwconv = nn.Module()
        self.dwconv.dwconv = nn.Conv2d(
            4 * width, 4 * width, 3, padding=1, groups=4 * width
        )

    def forward(self, x, size):
        x = self.fc1(x)
        image = x.transpose(1, 2).reshape(len(x), -1, *size)
        x = self.dwconv.dwconv(image).flatten(2).transpose(1, 2)
        return self.fc2(nn.functional.gelu(x))


class Block(nn.Module):
    def __init__(self, width, heads, ratio):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads, ratio)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = MLP(width)

    def forward(self, x, size):
        x = x + self.attn(self.norm1(x), size)
        return x + self.mlp(self.norm2(x), size)


class Official(nn.Module):
    """SegFormer's encoder, from its paper, under the names of its authors' files."""

    def __init__(self):
        super().__init__()
        before = 3
        for i, width in enumerate(WIDTHS):
            embed = nn.Module()
            kernel, stride = (7, 4) if i == 0 else (3, 2)
            embed.proj = nn.Conv2d(before, width, kernel, stride, kernel // 2)
            embed.norm = nn.LayerNorm(width, eps=1e-6)
            blocks = [Block(width, HEADS[i], RATIOS[i]) for _ in range(DEPTHS[i])]
            setattr(self, f'patch_embed{i + 1}', embed)
            setattr(self, f'block{i + 1}', nn.ModuleList(blocks))
            setattr(self, f'norm{i + 1}', nn.LayerNorm(width, eps=1e-6))
            before = width
        self.head = nn.Linear(before, 10)

    def forward(self, x):
        maps = []
        for i in range(1, 5):
            embed = getattr(self, f'patch_embed{i}')
            x = embed.proj(x)
            size = x.shape[2:]
            x = embed.norm(x.flatten(2).transpose(1, 2))
            for block in getattr(self, f'block{i}'):
                x = block(x, size)
            x = getattr(self, f'norm{i}')(x)
            x = x.transpose(1, 2).reshape(len(x), -1, *size)
            maps.append(x)
        return maps


def as_transformers_has_it(state):
    """The same weights under the names of the hub's files."""
    renamed = {}
    for name, value in state.items():
        name = re.sub(
            r'^(patch_embed|block|norm)(\d)',
            lambda m: f'{m[1]}.{int(m[2]) - 1}',
            name,
        )
        for theirs, hub in (
            (r'^patch_embed\.(\d)\.norm', r'encoder.patch_embeddings.\1.layer_norm'),
            (r'^patch_embed', 'encoder.patch_embeddings'),
            (r'^norm', 'encoder.layer_norm'),
            (r'^block', 'encoder.block'),
            (r'\.norm([12])\.', r'.layer_norm_\1.'),
            (r'\.attn\.norm', '.attention.self.layer_norm'),
            (r'\.attn\.q\.', '.attention.self.query.'),
            (r'\.attn\.sr', '.attention.self.sr'),
            (r'\.attn\.proj', '.attention.output.dense'),
            (r'\.mlp\.fc', '.mlp.dense'),
        ):
            name = re.sub(theirs, hub, name)
        if '.attn.kv.' in name:
            for part, rows in zip(('key', 'value'), value.chunk(2), strict=True):
                renamed[name.replace('.attn.kv.', f'.attention.self.{part}.')] = rows
        elif not name.startswith('head'):
            renamed[name] = value
    return {f'segformer.{k}': v for k, v in renamed.items()}


def mit():
    init_default_scope('mmseg')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        backbone = MODELS.build(
            dict(
                type='MixVisionTransformer',
                embed_dims=8,
                num_layers=DEPTHS,
                num_heads=HEADS,
                sr_ratios=RATIOS,
            )
        )
    return backbone.eval()


@pytest.fixture
def official():
    torch.manual_seed(0)
    model = Official().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0.1, 0.2)
    return model


@pytest.mark.parametrize('rename', [dict, as_transformers_has_it])
def test_features_are_those_of_the_source(official, rename, tmp_path):
    path = tmp_path / 'mit.pth'
    torch.save(rename(official.state_dict()), path)
    backbone = mit()
    report = load_backbone(backbone, str(path))
    assert report.match == 1
    assert not report.unused
    images = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        for ours, theirs in zip(backbone(images), official(images), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_a_segmentor_s_own_backbone(official, tmp_path):
    source, backbone = mit(), mit()
    state = {f'backbone.{k}': v for k, v in source.state_dict().items()}
    torch.save(dict(state_dict=state), tmp_path / 'iter_1.pth')
    assert load_backbone(backbone, str(tmp_path / 'iter_1.pth')).match == 1
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, source.state_dict()[name])


def test_converted_to_mmseg(official, tmp_path):
    torch.save(official.state_dict(), tmp_path / 'mit.pth')
    state, source, target = convert_checkpoint(str(tmp_path / 'mit.pth'), 'mmseg')
    assert (source, target) == ('official MiT', 'mmseg MiT')
    mit().load_state_dict({k.removeprefix('backbone.'): v for k, v in state.items()})
