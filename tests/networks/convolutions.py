"""Tiny networks of convolutions of MMPretrain and MMSegmentation."""

from .blocks import csp_darknet, csp_resnet, efficientformer, efficientnet, vig

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

METAFORMER = dict(
    layers=[1, 2],
    embed_dims=[8, 16],
    mlp_ratios=[2, 2],
    layer_scale_init_value=0.1,
)

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
    'mmpretrain Res2Net': dict(
        type='mmpretrain.Res2Net', depth=50, base_width=8, base_channels=16
    ),
    'mmpretrain ResNeSt': dict(
        type='mmpretrain.ResNeSt', depth=50, base_channels=4, stem_channels=4
    ),
    'mmpretrain SE-ResNet': dict(
        type='mmpretrain.SEResNet', depth=50, base_channels=4, stem_channels=4
    ),
    'mmseg ResNeSt': dict(
        type='mmseg.ResNeSt',
        drop_path_rate=None,
        depth=50,
        base_channels=4,
        stem_channels=4,
    ),
    'mmpretrain CSPDarkNet': csp_darknet,
    'mmpretrain CSPResNet': csp_resnet,
    'mmpretrain EfficientNet': efficientnet,
    'mmpretrain MobileNetV2': dict(
        type='mmpretrain.MobileNetV2', drop_path_rate=None, widen_factor=0.1
    ),
    'mmseg MobileNetV2': dict(
        type='mmseg.MobileNetV2', drop_path_rate=None, widen_factor=0.1
    ),
    'mmseg MobileNetV3': dict(
        type='mmseg.MobileNetV3', drop_path_rate=None, arch='small', out_indices=(1, 8)
    ),
    'mmseg Fast-SCNN': dict(
        type='mmseg.FastSCNN',
        drop_path_rate=None,
        downsample_dw_channels=(4, 4),
        global_in_channels=8,
        global_block_channels=(8, 8, 8),
        global_block_strides=(2, 2, 1),
        global_out_channels=8,
        higher_in_channels=8,
        lower_in_channels=8,
        fusion_out_channels=8,
    ),
    'mmseg DDRNet': dict(
        type='mmseg.DDRNet', drop_path_rate=None, channels=4, ppm_channels=4
    ),
    'mmseg PIDNet': dict(
        type='mmseg.PIDNet', drop_path_rate=None, channels=4, ppm_channels=4
    ),
    'mmseg CGNet': dict(
        type='mmseg.CGNet',
        drop_path_rate=None,
        num_channels=(4, 8, 8),
        num_blocks=(2, 3),
        reductions=(2, 2),
    ),
    'mmseg ERFNet': dict(
        type='mmseg.ERFNet',
        drop_path_rate=None,
        enc_downsample_channels=(4, 8, 16),
        enc_non_bottleneck_channels=(8, 16),
        dec_upsample_channels=(8, 4),
        dec_non_bottleneck_channels=(8, 4),
        dropout_ratio=0.0,
    ),
    'mmseg BiSeNetV2': dict(
        type='mmseg.BiSeNetV2',
        drop_path_rate=None,
        detail_channels=(4, 4, 8),
        semantic_channels=(4, 4, 8, 8),
        semantic_expansion_ratio=2,
        bga_channels=8,
    ),
    'mmpretrain PoolFormer': dict(
        type='mmpretrain.PoolFormer', arch=METAFORMER, out_indices=(0, 2)
    ),
    'mmpretrain RIFormer': dict(
        type='mmpretrain.RIFormer', arch=METAFORMER, out_indices=(0, 2)
    ),
    'mmpretrain RIFormer, deployed': dict(
        type='mmpretrain.RIFormer', arch=METAFORMER, deploy=True, out_indices=(0, 2)
    ),
    'mmpretrain EfficientFormer': dict(
        type='mmpretrain.EfficientFormer',
        arch=dict(
            layers=[1, 2], embed_dims=[8, 16], downsamples=[False, True], vit_num=1
        ),
        out_indices=(0, 1),
        reshape_last_feat=True,
    ),
    'mmpretrain EfficientFormer, attention': efficientformer,
    'mmpretrain VAN': dict(
        type='mmpretrain.VAN',
        arch=dict(embed_dims=[8, 16], depths=[1, 2], ffn_ratios=[2, 2]),
        patch_sizes=[7, 3],
        out_indices=(0, 1),
    ),
    'mmseg MSCAN': dict(
        type='mmseg.MSCAN',
        embed_dims=[8, 16],
        mlp_ratios=[2, 2],
        depths=[1, 2],
        num_stages=2,
        norm_cfg=dict(type='BN'),
    ),
    'mmpretrain HorNet': dict(
        type='mmpretrain.HorNet',
        arch=dict(
            base_dim=8,
            depths=[1, 1, 1, 1],
            orders=[2, 2, 2, 2],
            dw_cfg=[dict(type='DW', kernel_size=7)] * 4,
        ),
        out_indices=(0, 3),
        gap_before_final_norm=False,
    ),
    'mmpretrain RepLKNet': dict(
        type='mmpretrain.RepLKNet',
        arch=dict(
            large_kernel_sizes=[7, 7],
            layers=[1, 2],
            channels=[8, 16],
            small_kernel=5,
            dw_ratio=1,
        ),
        strides=(2, 2),
        dilations=(1, 1),
        out_indices=(0, 1),
    ),
    'mmpretrain RepVGG': dict(
        type='mmpretrain.RepVGG',
        drop_path_rate=None,
        arch=dict(
            num_blocks=[2, 2, 2, 2],
            width_factor=[0.1] * 4,
            group_layer_map=None,
            se_cfg=dict(ratio=2, divisor=1),
        ),
        out_indices=(0, 3),
    ),
    'mmpretrain MobileOne': dict(
        type='mmpretrain.MobileOne',
        drop_path_rate=None,
        arch=dict(
            num_blocks=[1, 2, 2, 1],
            width_factor=[0.1] * 4,
            num_conv_branches=[2, 1, 1, 1],
            num_se_blocks=[0, 0, 1, 1],
        ),
        out_indices=(1, 3),
    ),
    'mmpretrain ShuffleNetV1': dict(
        type='mmpretrain.ShuffleNetV1', drop_path_rate=None, widen_factor=0.5
    ),
    'mmpretrain ConvMixer': dict(
        type='mmpretrain.ConvMixer',
        drop_path_rate=None,
        arch=dict(embed_dims=8, depth=3, patch_size=8, kernel_size=3),
    ),
    'mmpretrain RepMLP': dict(
        type='mmpretrain.RepMLPNet',
        drop_path_rate=None,
        arch=dict(channels=[8, 16], depths=[1, 1], sharesets_nums=[1, 2]),
        img_size=32,
        out_indices=(0, 1),
    ),
    'mmpretrain ViG': vig,
}
