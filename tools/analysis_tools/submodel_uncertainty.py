#!/usr/bin/env python
"""Estimate uncertainty from submodels, and rank images to label next.

Submodels are drawn as in training, at its drop-path rates. The mean of their
probabilities is compared with the full network: accuracy, mIoU, likelihood and
calibration. Images are ranked by uncertainty, and for a segmentor the disagreement is
drawn. Labels are needed for the comparison only. Writes uncertainty.json, ranking.csv
and disagreement/ into the work directory.
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

from mmcosub.analysis.predictions import SCORES
from mmcosub.arguments import (
    OneLineParser,
    add_config_arguments,
    add_shared_arguments,
    add_work_dir_argument,
)
from mmcosub.checkpoints import require_file
from mmcosub.config.errors import explained_errors
from mmcosub.config.loading import load_config
from mmcosub.stack import import_stack_quietly


def make_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_shared_arguments(parser, 'config', 'checkpoint')
    parser.add_argument(
        '-k', type=int, default=8, help='number of submodels (default: 8)'
    )
    parser.add_argument(
        '--drop-path-rate',
        type=float,
        help="rate of the submodels (default: the scheme's or the backbone's own)",
    )
    parser.add_argument(
        '--drop-path-decay',
        choices=('constant', 'linear'),
        default='constant',
        help='--drop-path-rate over depth; linear from 0 (default: constant)',
    )
    parser.add_argument(
        '--rank',
        choices=SCORES,
        default=SCORES[0],
        help='score to rank images by: entropy of the mean (default), mutual '
        'information, or the fraction of submodels that predict another class',
    )
    parser.add_argument(
        '--images', type=int, help='number of images, evenly spread (default: all)'
    )
    parser.add_argument(
        '--no-pictures', action='store_true', help='do not draw the disagreement'
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of the submodels')
    add_work_dir_argument(parser, 'the results')
    add_config_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> dict:
    parser = make_parser()
    args = parser.parse_args(argv)
    with explained_errors(parser.prog, args.debug):
        require_file(args.checkpoint)
        cfg = load_config(args)
        import_stack_quietly()
        from mmcosub.analysis.evaluation import loader_of, progress_bars, quiet_runner
        from mmcosub.analysis.pictures import DisagreementPictures
        from mmcosub.analysis.predictions import (
            draw_factors,
            find_called_sites,
            rates_of,
        )
        from mmcosub.analysis.sweep_record import write_json
        from mmcosub.analysis.uncertainty import SubmodelEnsemble, check_ranking

        check_ranking(args.rank, args.k)
        runner = quiet_runner(cfg)
        runner.load_checkpoint(args.checkpoint)
        loader = loader_of(runner, None, args.images)
        meta = runner.test_loop.dataloader.dataset.metainfo
        scheme = dict(cfg.get('scheme') or {})
        if args.drop_path_rate is not None:
            scheme['drop_path_rate'] = args.drop_path_rate
            scheme['drop_path_decay'] = args.drop_path_decay
        model = runner.model
        model.eval()
        sites = find_called_sites(model, next(iter(loader)))
        rates = rates_of(sites, scheme)
        factors = draw_factors(rates, args.k, args.seed)
        ensemble = SubmodelEnsemble(model, len(meta['classes']), factors, sites)
        out = Path(cfg.work_dir)
        draw = None
        if 'palette' in meta and not args.no_pictures:
            draw = DisagreementPictures(out / 'disagreement', meta['palette'])
        with progress_bars() as bars, bars('images', len(loader.dataset)) as tick:
            for batch in loader:
                tick(ensemble.add(batch, draw))
        ranking = ensemble.ranking(args.rank)
        record = dict(
            title='Submodels as an ensemble',
            config=args.config,
            checkpoint=args.checkpoint,
            images=len(ranking),
            submodels=args.k,
            drop_path_rates=[round(float(rate), 6) for rate in rates],
            seed=args.seed,
            rank=args.rank,
            quality=ensemble.result(),
        )
        write_json(record, out / 'uncertainty.json')
        with (out / 'ranking.csv').open('w', newline='') as file:
            writer = csv.DictWriter(file, ranking[0])
            writer.writeheader()
            writer.writerows(ranking)
        report(record, out, draw is not None)
    return record


def report(record: dict, out: Path, drawn: bool) -> None:
    """Print the metrics and the places of the files."""
    from rich.console import Console
    from rich.table import Table

    quality = record['quality']
    if quality:
        table = Table('', *quality['full'])
        for name in ('full', 'mean', 'one_submodel'):
            shown = [f'{value:.4g}' for value in quality[name].values()]
            table.add_row(name.replace('_', ' '), *shown)
        Console().print(table)
        found = quality['finds_errors']
        table = Table('ranked by', 'wrong in the first fifth, %', 'rank correlation')
        for name, row in found.items():
            correlation = row['rank_correlation']
            table.add_row(
                name.replace('_', ' '),
                f'{row["wrong_in_first_fifth"]:.2f}',
                '' if correlation is None else f'{correlation:.2f}',
            )
        Console().print(table)
        print(f'Mean error of all images: {found[record["rank"]]["wrong"]:.2f} %.')
    else:
        print('The images have no labels, so there are no metrics.')
    pictures = f', pictures in {out / "disagreement"}' if drawn else ''
    print(f'Images to label next in {out / "ranking.csv"}{pictures}.')


if __name__ == '__main__':
    main()
