"""The models that are timed: those of our configs, stock, fast and co-trained."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmpretrain.structures import DataSample
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmcosub.config.co_train import accelerated_model, co_trained_model
from mmcosub.fast.attention import accelerate_attention
from mmcosub.models import compile_parts
from mmcosub.registry import MODELS
from mmcosub.stack import import_stack_quietly

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
SEGMENTORS = dict(
    swin='cosub/swin-tiny-patch4-window7_upernet-cosub_8xb2-160k_ade20k-512x512.py',
    vit='cosub/vit-small-p16_upernet-cosub_8xb2-160k_ade20k-512x512.py',
    demo='digit_scenes/swin-mini_upernet-cosub_1xb32-2k_digit-scenes-32x32.py',
)
CLASSIFIER = 'cosub_pretrain/vit-small-p16_cosub_8xb256-400e_in1k-224.py'
Call = Callable[[], object]


class Bench:
    """A model's config with one batch of random images and labels for it.

    Args:
        config (str): File in configs/.
        batch (int): Number of images.
        size (int): Their height and width.
        half (torch.dtype, optional): Half precision of a forward pass, by autocast.
            Defaults to None, single precision.
        device (str, optional): Defaults to the GPU where there is one.
    """

    def __init__(
        self,
        config: str,
        batch: int,
        size: int,
        half: torch.dtype | None = None,
        device: str | None = None,
    ) -> None:
        import_stack_quietly()
        cfg = Config.fromfile(CONFIGS / config)
        init_default_scope(cfg.default_scope)
        self.device = device or ('cuda' if torch.cuda.is_available() else 'cpu')
        self.half = half
        self.stock, self.scheme = cfg.model, cfg.scheme
        self.stock.backbone.img_size = size
        self.segments = 'decode_head' in cfg.model
        for part in ('decode_head', 'auxiliary_head', 'neck'):
            if 'norm_cfg' in (self.stock.get(part) or {}):
                self.stock[part].norm_cfg = dict(type='BN')  # SyncBN: several GPUs
        if self.segments:
            self.stock.data_preprocessor.size = (size, size)
        torch.manual_seed(0)
        self.images = torch.randn(batch, 3, size, size, device=self.device)
        shape = (size, size)
        self.meta = dict(img_shape=shape, ori_shape=shape, padding_size=[0] * 4)
        self.samples = [self._sample(shape) for _ in range(batch)]

    def _sample(self, shape: tuple[int, int]) -> Any:
        if self.segments:
            classes = self.stock.decode_head.num_classes
            label = PixelData(data=torch.randint(0, classes, (1, *shape)))
            sample = SegDataSample(gt_sem_seg=label, metainfo=self.meta)
        else:
            sample = DataSample().set_gt_label(int(torch.randint(1000, ())))
        return sample.to(self.device)

    def autocast(self) -> torch.autocast:
        """The precision of a forward pass."""
        enabled = self.half is not None
        return torch.autocast(self.device, self.half, enabled=enabled)

    def build(
        self,
        fast: bool = False,
        scheme: dict | None = None,
        unlabelled: dict | None = None,
    ) -> nn.Module:
        """The model on the device.

        Args:
            fast (bool): As the runner builds it with ``fast``. Defaults to False.
            scheme (dict, optional): Changes to the config's scheme, by which the model
                is then co-trained. Defaults to None, a stock model.
            unlabelled (dict, optional): How a co-trained model learns from unlabelled
                images. Defaults to None, not at all.
        """
        config = accelerated_model(self.stock) if fast else dict(self.stock)
        if scheme is not None:
            config = co_trained_model(config, {**self.scheme, **scheme})
        if unlabelled is not None:
            config['unlabelled'] = unlabelled
        model = MODELS.build(config)
        if fast:
            accelerate_attention(model)
        return model.to(self.device)

    def step(
        self, fast: bool = False, scheme: dict | None = None, compiled: bool = False
    ) -> Call:
        """A call that computes the gradients of one training step.

        Args:
            fast (bool): See :meth:`build`.
            scheme (dict, optional): See :meth:`build`.
            compiled (bool): Whether parts of a co-trained model are compiled, when it
                is first called. Defaults to False.
        """
        model: Any = self.build(fast, scheme).train()
        if compiled:
            compile_parts(model, True)

        def run() -> None:
            model.zero_grad(set_to_none=False)
            with self.autocast():
                loss, _ = model.parse_losses(model.loss(self.images, self.samples))
            loss.backward()

        return run

    def reference(self) -> Call:
        """Cosub as the public code of DeiT has it, on the stock model.

        The batch is doubled, stock drop path masks each half by itself, and each half
        learns from the labels and from the other's prediction.
        """
        model: Any = self.build().train()

        def teach(student: Tensor, teacher: Tensor) -> Tensor:
            if self.segments:
                return F.cross_entropy(student, teacher.detach().softmax(dim=1))
            target = teacher.detach().sigmoid()
            return F.binary_cross_entropy_with_logits(student, target)

        def label_loss(head: Any, logits: Tensor) -> Tensor:
            if self.segments:
                losses = head.loss_by_feat(logits, self.samples)
            else:
                losses = head._get_loss(logits, self.samples)
            return sum(v for k, v in losses.items() if 'loss' in k)

        def total() -> Tensor:
            features = model.extract_feat(torch.cat([self.images, self.images]))
            head = model.decode_head if self.segments else model.head
            one, two = head(features).chunk(2)
            loss = sum(
                (label_loss(head, own) + teach(own, other)) / 4
                for own, other in ((one, two), (two, one))
            )
            if self.segments:
                aux = model.auxiliary_head
                halves = aux(features).chunk(2)
                loss = loss + sum(label_loss(aux, half) / 4 for half in halves)
            return loss

        def run() -> None:
            model.zero_grad(set_to_none=False)
            with self.autocast():
                loss = total()
            loss.backward()

        return run

    def prediction(self, fast: bool = False) -> Call:
        """A call that computes the logits of the images.

        Args:
            fast (bool): As ``tools/test.py --fast``. Defaults to False.
        """
        from mmcosub.fast.convolutions import fold_norms

        model: Any = self.build(fast).eval()
        if fast:
            fold_norms(model)
        metas = [self.meta] * len(self.images)

        @torch.no_grad()
        def run() -> None:
            with self.autocast():
                model.encode_decode(self.images, metas)

        return run
