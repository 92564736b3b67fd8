# Fine-tuning at a higher resolution, batches of 512 images, 20 epochs.
#
# Published (DeiT III). Ours: steps every iteration, not every epoch.
_base_ = './lamb_bs2048.py'
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-5, weight_decay=0.1)
)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=0.1,
        by_epoch=True,
        end=5,
        convert_to_iter_based=True,
    ),
    # Constant from there: their cosine is down to 1e-5, the learning rate itself.
]
train_cfg = dict(max_epochs=20, val_interval=1)
auto_scale_lr = dict(base_batch_size=512)
