"""Fingerprint of a run, compared with a checkpoint's on resuming."""

import json
from typing import Any

KEY = 'mmcosub'
"""Key of the fingerprint in a checkpoint's ``meta``."""

# Settings that do not change the results.
_NO_DIFFERENCE = ('execution', 'lean', '_scope_')


def identity_of(cfg: Any, batch: int, ranks: int, wrapper: dict) -> dict[str, Any]:
    """Return the settings that must be equal to resume a run exactly.

    Args:
        cfg (Config): Config of the run.
        batch (int): Images in a batch.
        ranks (int): Number of processes.
        wrapper (dict): Config of the optimizer wrapper.
    """
    scheme = cfg.get('scheme')
    return dict(
        co_trained=bool(scheme),
        scheme=_plain(scheme) if scheme else {},
        batch_size=batch,
        processes=ranks,
        unlabelled={
            key: value
            for key, value in (cfg.get('unlabelled') or {}).items()
            if key not in ('data_root', 'pipeline', 'strong')
        },
        accumulative_counts=wrapper.get('accumulative_counts', 1),
        optimizer={
            **_plain(wrapper.get('optimizer') or {}),
            'paramwise_cfg': _as_json(wrapper.get('paramwise_cfg') or {}),
        },
    )


def differences(saved: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Describe the differences of two runs.

    Args:
        saved (dict): Fingerprint in the checkpoint; missing keys are not compared.
        now (dict): Fingerprint of this run.
    """
    found = []
    before, after = _flat(saved), _flat(now)
    compared = set(saved)
    if saved.get('co_trained') != now.get('co_trained'):
        compared.discard('scheme')  # everything in it differs
    for key in sorted(before.keys() | after.keys()):
        if key.partition('.')[0] in compared and before.get(key) != after.get(key):
            was, becomes = (
                repr(side[key]) if key in side else 'not set'
                for side in (before, after)
            )
            found.append(f'{key} was {was} and is {becomes}')
    return found


def identity_in(checkpoint: dict) -> dict[str, Any]:
    """Return the fingerprint in a checkpoint.

    Args:
        checkpoint (dict): The checkpoint. For one of MMEngine or an older version, only
            ``co_trained`` is known.
    """
    meta = checkpoint['meta']
    said = dict(meta.get(KEY) or {})
    plans = checkpoint['message_hub'].get('runtime_info', {}).get('co_training_plans')
    return {'co_trained': bool(plans), **said}


def _flat(value: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, dict):
            flat.update(_flat(inner, f'{prefix}{key}.'))
        else:
            flat[prefix + key] = inner
    return flat


def _plain(cfg: dict) -> dict[str, Any]:
    """Convert a config to JSON types, with class names for types."""
    kept = {k: v for k, v in _as_json(cfg).items() if k not in _NO_DIFFERENCE}
    if 'type' in kept:
        kept['type'] = str(kept['type']).rpartition('.')[2]
    return kept


def _as_json(cfg: dict) -> dict[str, Any]:
    return json.loads(
        json.dumps(cfg, default=lambda value: getattr(value, '__name__', str(value)))
    )
