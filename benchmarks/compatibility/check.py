"""Whether a stock model is accepted for co-training, and computes what it should."""

import copy
import math
import re
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope, init_default_scope
from torch import nn

from mmcosub.config.co_train import FAST, co_trained_model, set_default_rate
from mmcosub.config.model_settings import without_memory
from mmcosub.registry import MODELS

from .step import make_batch, native_size, sized, step
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
    trained.train()
    return trained.execution_of_plans()


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


def scope(case: Case) -> None:
    """Let names of types be those of the config's package."""
    init_default_scope('mmpretrain' if case.package == 'timm' else case.package)


def first_line(error: Exception) -> str:
    """An error on one line, without paths of the machine that it was seen on."""
    text = ' '.join(f'{type(error).__name__}: {error}'.split())
    text = text.partition(', the current sys.path is')[0]
    return re.sub(r'(?:/[\w.-]+){2,}/', '', text)[:300]
