"""Whether a stock model is accepted for co-training, and computes what it should."""

import copy
import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope, init_default_scope
from mmengine.structures import PixelData
from mmpretrain.structures import DataSample
from mmseg.structures import SegDataSample
from torch import nn

from mmcosub.engine.co_train import FAST, co_trained_model
from mmcosub.engine.default_rate import set_default_rate
from mmcosub.engine.without_memory import without_memory
from mmcosub.registry import MODELS

from .stock import SIZE, Case

COSUB = dict(type='mmcosub.Cosub')
NOTHING = dict(type='mmcosub.Cosub', weight=0.0, drop_path_rate=0.0)
"""Two views without dropped branches that teach each other nothing: plain training."""


def all_accepted(cases: list[Case]) -> dict[str, dict]:
    """Which configs build as co-trained models, by what execution, or why not.

    Configs of the same model are one: data and schedules are no matter here.
    """
    seen: dict[str, dict] = {}
    entries = {}
    for case in cases:
        try:
            model = case.model()
        except Exception as error:  # anything at all: it is the stock config's
            entry = dict(status='not built', reason=first_line(error))
        else:
            if case.package == 'mmpretrain' and model['type'] != 'ImageClassifier':
                continue
            if repr(model) not in seen:
                seen[repr(model)] = accepted(case, model)
            entry = seen[repr(model)]
        entries[case.name] = dict(group=case.group, **entry)
    return entries


def accepted(case: Case, model: dict) -> dict[str, Any]:
    """Whether a model is accepted."""
    try:
        scope(case)
        with without_memory():
            trained = build_trained(model, COSUB)
    except Exception as refusal:  # anything at all
        return why_not(model, refusal)
    return dict(
        status='accepted',
        execution=execution(trained),
        parameters=sum(p.numel() for p in trained.parameters()),
        fast=fast_heads(model),
    )


def why_not(model: dict, refusal: Exception) -> dict[str, Any]:
    """Whether it is co-training that refuses, or the stock package does."""
    try:
        with without_memory():
            MODELS.build(copy.deepcopy(model))
    except Exception as error:  # anything at all: it is the stock config's
        return dict(status='not built', reason=first_line(error))
    reason = untrained(model)
    if reason:
        return dict(status='not trained', reason=reason)
    return dict(status='refused', reason=first_line(refusal), fast=fast_heads(model))


def untrained(model: dict) -> str | None:
    """Why nobody trains a stock classifier, or None if one can."""
    if 'decode_head' in model or model['type'] != 'ImageClassifier':
        return None
    head = model.get('head')
    if head is None:
        return 'without a head, for its features'
    if model['backbone'].get('deploy'):
        return 'folded for deployment'
    distilled = head['type'] in ('LeViTClsHead', 'EfficientFormerClsHead')
    if distilled and head.get('distillation', True):
        return 'distilled, which is not implemented; `distillation=False` co-trains'
    return None


def build_trained(model: dict, scheme: dict) -> nn.Module:
    """The co-trained model, with a rate where the network has none of its own."""
    cfg = Config(dict(model=copy.deepcopy(model), scheme=dict(scheme)))
    cfg.default_scope = DefaultScope.get_current_instance().scope_name
    set_default_rate(cfg)
    return MODELS.build(co_trained_model(cfg.model, cfg.scheme))


def execution(trained: Any) -> str:
    """How its submodels run by default."""
    from mmcosub.submodels import fastest_exact

    trained.train()
    return fastest_exact(trained.backbone, trained.sites)


def fast_heads(model: dict) -> bool:
    """Whether --fast has a class for the decode head."""
    heads = model.get('decode_head') or []
    heads = heads if isinstance(heads, list | tuple) else [heads]
    return any(str(head.get('type')).rpartition('.')[2] in FAST for head in heads)


class NotCoTrainedError(Exception):
    """A step of the stock model runs, and that of the co-trained one is refused."""


def measured(case: Case) -> dict[str, Any]:
    """One step with rate 0 and weight 0 against the stock model's, one of cosub."""
    problems, best = [], None
    for dtype, enough in ((torch.float64, 1e-9), (torch.float32, 1e-5)):
        for size in (SIZE, 2 * SIZE, 4 * SIZE, None):
            try:
                found = _measured(case, size, dtype)
            except NotCoTrainedError as error:
                return dict(refused=str(error))
            except Exception as error:  # a size or a type that the network lacks
                problems.append(first_line(error))
                if 'expected scalar type' in str(error):
                    break
                continue
            if best is None or found['gradients'] < best['gradients']:
                best = found
            # BatchNorm over a few values magnifies rounding: larger maps tell.
            if best['gradients'] < enough:
                return best
        if best is not None:
            return best
    return dict(error=problems[0])


def _measured(case: Case, size: int | None, dtype: torch.dtype) -> dict[str, Any]:
    model = sized(case.model(), size)
    size = size or native_size(model)
    scope(case)
    torch.manual_seed(0)
    stock = MODELS.build(copy.deepcopy(model))
    plain = build_trained(model, NOTHING)
    for name, tensor in plain.state_dict().items():
        tensor.copy_(stock.state_dict()[name])
    batch = make_batch(stock, model, size, dtype)
    expected, gradients = step(stock, batch, dtype)
    del stock  # some take gigabytes
    try:
        got, others = step(plain, batch, dtype)
    except ValueError as error:  # refused as soon as it runs
        raise NotCoTrainedError(first_line(error)) from error
    losses = max(
        abs(got[k] - v) / max(1.0, abs(v)) for k, v in expected.items() if 'loss' in k
    )
    largest = max((g.abs().max().item() for g in gradients.values()), default=1.0)
    gap = max(
        (g - others[name]).abs().max().item() / max(largest, 1e-30)
        for name, g in gradients.items()
    )
    del plain, gradients, others
    trained = build_trained(model, COSUB)
    terms, moved = step(trained, batch, dtype, keep_rates=True)
    co_training = [v for k, v in terms.items() if 'co_training' in k]
    if not co_training or not all(math.isfinite(v) for v in terms.values()):
        raise ValueError(f'a step of cosub gives {terms}')
    if not any(g.any() for g in moved.values()):
        raise ValueError('a step of cosub moves nothing')
    return dict(
        size=size,
        dtype=str(dtype).removeprefix('torch.'),
        losses=losses,
        gradients=gap,
        execution=execution(trained),
        co_training=co_training[0],
    )


def step(
    model: Any, batch: tuple, dtype: torch.dtype, keep_rates: bool = False
) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """Losses and gradients of one step, without noise."""
    model = model.to(dtype).train() or model
    quiet(model, dtype, keep_rates)
    torch.manual_seed(0)
    losses = model.loss(*copy.deepcopy(batch))
    total, terms = model.parse_losses(losses)
    total.backward()
    gradients = {
        name: p.grad for name, p in model.named_parameters() if p.grad is not None
    }
    return {k: float(v) for k, v in terms.items()}, gradients


def quiet(model: nn.Module, dtype: torch.dtype, keep_rates: bool) -> None:
    """Leave nothing to chance, or make the same of it for every row and view."""
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
        for name in ('attn_drop', 'dropout', 'attn_drop_p'):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
        if type(module).__name__ == 'DropPath' and not keep_rates:
            module.drop_prob = 0.0
        if isinstance(module, nn.Conv2d):  # positions are float32 in some networks
            module.register_forward_pre_hook(lambda m, args: (args[0].to(m.weight),))
        if hasattr(module, '_build_bases'):  # SegNeXt's head starts from random ones
            module._build_bases = partial(_same_bases, module._build_bases, dtype)
        # Masks and refined points are compared at points drawn at random.
        if hasattr(module, '_seg_data_to_instance_data'):
            module.loss_by_feat = partial(_seeded, module.loss_by_feat)
        if hasattr(module, 'get_points_train'):
            module.get_points_train = partial(_seeded, module.get_points_train)


def _same_bases(
    build: Callable, dtype: torch.dtype, rows: int, *args: Any, **kwargs: Any
) -> torch.Tensor:
    return _seeded(build, 1, *args, **kwargs).to(dtype).repeat(rows, 1, 1)


def _seeded(function: Callable, *args: Any, **kwargs: Any) -> Any:
    torch.manual_seed(0)
    return function(*args, **kwargs)


def scope(case: Case) -> None:
    """Let names of types be those of the config's package."""
    init_default_scope('mmpretrain' if case.package == 'timm' else case.package)


def sized(model: ConfigDict, size: int | None) -> ConfigDict:
    """The model for images of another size, where its network has to know."""
    if size is None:
        return model
    model = copy.deepcopy(model)
    backbone = model.get('backbone') or {}
    for name in ('img_size', 'pretrain_img_size'):
        if name in backbone:
            backbone[name] = size
    if model.get('type') == 'TimmClassifier' and accepts_size(model['model_name']):
        model['img_size'] = size
    if 'train_cfg' in model and 'decode_head' not in model:
        del model['train_cfg']  # mixup is no matter here
    return model


def accepts_size(name: str) -> bool:
    """Whether a network of timm's takes a size."""
    import timm

    try:
        with without_memory():
            timm.create_model(name, img_size=SIZE)
    except Exception:  # whatever it objects to
        return False
    return True


LARGEST_CROP = 400
"""In pixels; MobileNetV3's head pools over 49 positions 8 pixels apart."""


def native_size(model: dict) -> int:
    """Size in pixels that a network is made for."""
    crop = (model.get('data_preprocessor') or {}).get('size')
    if crop:
        return min(max(crop), LARGEST_CROP)
    backbone = model.get('backbone') or {}
    size = backbone.get('img_size', 224)
    return int(size if isinstance(size, int) else size[0])


def make_batch(stock: Any, model: dict, size: int, dtype: torch.dtype) -> tuple:
    """Two images with labels."""
    images = torch.randn(2, 3, size, size, dtype=dtype)
    if 'decode_head' not in model:
        head = model.get('head') or model
        classes = head.get('num_classes', 10)
        samples = []
        for label in torch.randint(0, classes, (2,)):
            score = nn.functional.one_hot(label, classes).to(dtype)
            samples.append(DataSample().set_gt_label(label).set_gt_score(score))
        return images, samples
    classes = stock.num_classes
    shape = (size, size)
    names = ('img_shape', 'ori_shape', 'pad_shape', 'batch_input_shape')
    meta = dict(dict.fromkeys(names, shape), padding_size=[0] * 4)
    samples = []
    for _ in range(2):
        label = torch.randint(0, max(classes, 2), (1, *shape))
        edges = torch.randint(0, 2, (1, *shape))
        samples.append(
            SegDataSample(
                gt_sem_seg=PixelData(data=label),
                gt_edge_map=PixelData(data=edges),
                metainfo=meta,
            )
        )
    return images, samples


def first_line(error: Exception) -> str:
    """An error on one line, without paths of the machine that it was seen on."""
    text = ' '.join(f'{type(error).__name__}: {error}'.split())
    text = text.partition(', the current sys.path is')[0]
    return re.sub(r'(?:/[\w.-]+){2,}/', '', text)[:300]
