"""Tiny networks of convolutions of MMPretrain and MMSegmentation."""

CONVNEXT = dict(
    type='mmpretrain.ConvNeXt',
    arch=dict(depths=[2, 1], channels=[8, 16]),
    out_indices=(0, 1),
    gap_before_final_norm=False,
)

HRNET = {
    f'stage{stage}': dict(
        num_modules=1,
        num_branches=stage,
        block='BOTTLENECK' if stage == 1 else 'BASIC',
        num_blocks=(1,) * stage,
        num_channels=(2, 4, 8, 16)[:stage],
    )
    for stage in (1, 2, 3, 4)
}

CONVOLUTIONS = {
    'mmpretrain ConvNeXt': CONVNEXT,
    'mmpretrain ConvNeXt V2': dict(
        **CONVNEXT, use_grn=True, layer_scale_init_value=0.0, linear_pw_conv=False
    ),
    'mmpretrain ResNet, basic blocks': dict(
        type='mmpretrain.ResNet', depth=18, base_channels=4, stem_channels=4
    ),
    'mmpretrain ResNet, bottlenecks': dict(
        type='mmpretrain.ResNet', depth=50, base_channels=2, stem_channels=4
    ),
    'mmseg ResNet, basic blocks': dict(
        type='mmseg.ResNetV1c',
        drop_path_rate=None,
        depth=18,
        base_channels=4,
        stem_channels=4,
    ),
    'mmseg ResNet, bottlenecks': dict(
        type='mmseg.ResNet',
        drop_path_rate=None,
        depth=50,
        base_channels=2,
        stem_channels=4,
        num_stages=2,
        strides=(1, 2),
        dilations=(1, 2),
        out_indices=(0, 1),
        contract_dilation=True,
        plugins=[
            dict(
                cfg=dict(type='ContextBlock', ratio=0.5),
                stages=(False, True),
                position='after_conv3',
            )
        ],
    ),
    'mmpretrain HRNet': dict(type='mmpretrain.HRNet', drop_path_rate=None, extra=HRNET),
    'mmseg HRNet': dict(type='mmseg.HRNet', drop_path_rate=None, extra=HRNET),
    'mmseg BiSeNetV1': dict(
        type='mmseg.BiSeNetV1',
        drop_path_rate=None,
        backbone_cfg=dict(
            type='mmseg.ResNet', depth=18, base_channels=4, stem_channels=4
        ),
        spatial_channels=(4, 4, 4, 8),
        context_channels=(8, 16, 32),
        out_channels=16,
    ),
    'mmseg ICNet': dict(
        type='mmseg.ICNet',
        drop_path_rate=None,
        backbone_cfg=dict(
            type='mmseg.ResNetV1c', depth=50, base_channels=2, stem_channels=4
        ),
        layer_channels=(16, 64),
        light_branch_middle_channels=4,
        psp_out_channels=8,
        out_channels=(4, 8, 8),
        pool_scales=(1, 2),
    ),
}
