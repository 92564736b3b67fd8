# ImageNet-21k, 90 epochs.
#
# Published (DeiT III); 90 epochs for ViT-H only, 240 for others. Ours: steps every
# iteration, not every epoch, and a cosine that begins behind the warm-up, not below it.
_base_ = './lamb_bs2048.py'
lr = 1e-3
epochs = 90
optim_wrapper = dict(optimizer=dict(lr=lr, weight_decay=0.02))
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
