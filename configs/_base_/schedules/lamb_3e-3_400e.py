# ImageNet-1k, 400 epochs, large models.
#
# Published (DeiT III). Ours: steps every iteration, not every epoch, and a cosine
# that begins behind the warm-up, not below it.
_base_ = './lamb_bs2048.py'
lr = 3e-3
epochs = 400
optim_wrapper = dict(optimizer=dict(lr=lr, weight_decay=0.03))
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-6 / lr,
        by_epoch=True,
        end=5,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        eta_min=1e-5,
        by_epoch=True,
        begin=5,
        end=epochs,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=5)
