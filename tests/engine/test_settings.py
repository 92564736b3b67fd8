"""Settings that are looked at before anything is built."""

import pytest
from mmengine.config import Config

from mmcosub.engine.settings import check_options, check_scheme
from mmcosub.schemes import Cosub


@pytest.mark.parametrize(
    'key', ['tta_model.type', 'tta_pipeline', 'data_preprocessor.mean', 'fast']
)
def test_what_is_read_may_be_set(key: str) -> None:
    check_options(Config(dict(model=dict(), data_root='')), {key: 1})


def test_what_looks_like_another_key_may_not() -> None:
    with pytest.raises(ValueError, match=r"'modell\.type'\. Did you mean 'model'"):
        check_options(Config(dict(model=dict())), {'modell.type': 1})


class Own(Cosub):
    def __init__(self, table: 'NotImported | None' = None) -> None:  # noqa: F821
        super().__init__()


def test_types_that_are_for_type_checkers_only() -> None:
    """A scheme's own settings are then of any type, its names as strict as ever."""
    check_scheme(dict(type=Own, table=3))
    with pytest.raises(ValueError, match=r"scheme\.tabel: Own .* 'table'"):
        check_scheme(dict(type=Own, tabel=3))
