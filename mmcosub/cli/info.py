"""Text of ``mmcosub info``: packages, devices, known models and problems."""

import os
import platform
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import mmcosub
from mmcosub.stack import check_stack, find_stack, installed_version

_OPTIONAL = {
    'timm': 'timm backbones',
    'scikit-learn': 'digits and digit scenes',
    'tensorboard': 'logging to TensorBoard',
    'safetensors': '.safetensors checkpoints',
}


def describe() -> tuple[str, bool]:
    """Return what ``mmcosub info`` prints, and whether all is well.

    Also works where the packages underneath do not fit together.
    """
    parts = [_installed()]
    wrong: list[str] = []
    try:
        check_stack()
    except ImportError as error:
        wrong = [str(error)]
    else:
        import torch

        parts += [_devices(), _known()]
        if Path('/dev/nvidia0').exists() and not torch.cuda.is_available():
            wrong = [
                'there is an NVIDIA GPU, and torch cannot use it: built for '
                f'{torch.version.cuda or "no CUDA at all"}. Compare with what '
                '`nvidia-smi` says of the driver.'
            ]
    parts.append([f'Wrong: {each}' for each in wrong] or ['No problems found.'])
    return '\n\n'.join('\n'.join(part) for part in parts), not wrong


def _installed() -> list[str]:
    lines = [
        f'mmcosub {mmcosub.__version__} in {Path(mmcosub.__file__).parent}',
        f'Python {platform.python_version()}, {platform.platform()}',
    ]
    for group, found in find_stack().items():
        listed = ', '.join(f'{each.distribution} {each.version}' for each in found)
        lines.append(listed if group == 'torch' else f'{group}: {listed}')
    for name, use in _OPTIONAL.items():
        version = installed_version(name)
        lines.append(f'{name} {version}' if version else f'no {name} (for {use})')
    return lines


def _devices() -> list[str]:
    import torch

    threads = f'{os.cpu_count()} processors, {torch.get_num_threads()} threads'
    lines = [f'Devices: cpu ({threads})']
    for i in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(i)
        memory = properties.total_memory / 2**30
        lines.append(f'  cuda:{i} {properties.name}, {memory:.0f} GiB')
    if torch.backends.mps.is_available():
        lines.append('  mps')
    compiled = 'there' if find_spec('mmcv._ext') else 'none (few heads need any)'
    lines.append(f'Compiled operators of mmcv: {compiled}')
    return lines


def _known() -> list[str]:
    from mmcosub.names import WRAPPERS, list_schemes
    from mmcosub.schemes.unlabelled import STUDENTS
    from mmcosub.submodels import known_blocks

    packages = Counter(name.partition('.')[0] for name in known_blocks())
    counts = ', '.join(f'{count} of {name}' for name, count in sorted(packages.items()))
    lines = [
        f'Schemes: {", ".join(list_schemes())}',
        f'Students on unlabelled images: {", ".join(STUDENTS)}',
        f'Models: {", ".join(WRAPPERS)}',
        f'Known blocks: {counts}',
    ]
    for package in sorted(packages):
        of_package = [n for n in known_blocks() if n.startswith(f'{package}.')]
        classes = sorted({name.rpartition('.')[2] for name in of_package})
        lines.append(f'  {package}: {", ".join(classes)}')
    return lines
