"""RunFactsHook: what it writes down of how a run was started."""

import json
from pathlib import Path
from types import ModuleType


def test_facts(train: ModuleType, config: Path, tmp_path: Path) -> None:
    train.main([str(config), '--cfg-options', 'train_cfg.max_iters=1'])
    (file,) = (tmp_path / 'w').glob('*/facts.json')
    facts = json.loads(file.read_text())
    assert facts['config'] == str(config)
    assert facts['folder'] == str(Path.cwd())
    assert (facts['seed'], facts['processes']) == (0, 1)
    assert {'mmcosub', 'torch', 'torchvision', 'Python'} <= facts['versions'].keys()
    assert facts['devices']
    assert isinstance(facts['git'], str)
