# Fine-tuning on ImageNet-1k after ImageNet-21k, 50 epochs. Published (DeiT III).
_base_ = './lamb_bs2048.py'
lr = 3e-4
optim_wrapper = dict(optimizer=dict(lr=lr, weight_decay=0.02))
_base_.param_scheduler[0].start_factor = 1e-6 / lr
train_cfg = dict(max_epochs=50)
