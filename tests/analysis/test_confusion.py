"""Confusion matrices: of what there is one."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmcosub.analysis.confusion import confusion_matrix
from mmcosub.engine.prediction import load_model


@pytest.fixture
def classifier(classification_config: Path, tmp_path: Path) -> Config:
    """A classifier in the scope of other packages, and a checkpoint."""
    cfg = Config.fromfile(classification_config)
    torch.save(load_model(cfg, device='cpu').state_dict(), tmp_path / 'a.pth')
    cfg.load_from = str(tmp_path / 'a.pth')
    model, dataset = cfg.model, cfg.test_dataloader.dataset
    model.data_preprocessor.type = 'ClsDataPreprocessor'
    parts = (model.data_preprocessor, model.backbone, model.neck, model.head)
    for part in (model, *parts, dataset, dataset.pipeline[-1]):
        part.type = f'mmpretrain.{part.type}'
    cfg.test_dataloader.collate_fn = dict(type='default_collate')
    cfg.train_cfg = cfg.train_dataloader = cfg.optim_wrapper = None
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.default_scope = 'mmseg'
    return cfg


def test_a_classifier_in_another_scope(classifier: Config) -> None:
    matrix, names = confusion_matrix(classifier)
    assert matrix.sum(dim=1).tolist() == [2, 2]
    assert names == ['a', 'b']


def test_several_labels_are_refused(classifier: Config) -> None:
    name = 'mmpretrain.MultiLabelLinearClsHead'
    classifier.model.head = dict(type=name, num_classes=2, in_channels=16)
    with pytest.raises(ValueError, match='MultiLabelLinearClsHead gives an image sev'):
        confusion_matrix(classifier)
