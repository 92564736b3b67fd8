"""Page data and rendering."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import mmcosub
from mmcosub.files import atomic_write

from .figures import RUN_COLOURS
from .group import Group, Task, make_group, task_of
from .predictions import Predicted
from .run import Run


@dataclass
class Page:
    """Data of the page.

    Args:
        runs (list[Run]): The runs.
        predicted (dict[int, Predicted]): Predictions by number of the run.
        title (str): Title of the page.
        groups (list[Group]): The runs by task.
    """

    runs: list[Run]
    predicted: dict[int, Predicted]
    title: str
    groups: list[Group] = field(default_factory=list)

    def __post_init__(self) -> None:
        tasks: dict[Task, dict[int, Run]] = {}
        for number, run in enumerate(self.runs):
            tasks.setdefault(task_of(run), {})[number] = run
        for task, runs in tasks.items():
            predicted = {i: p for i, p in self.predicted.items() if i in runs}
            self.groups.append(make_group(task, runs, predicted))

    def render(self) -> str:
        """Return the page as HTML."""
        environment = Environment(
            loader=PackageLoader('mmcosub.report'),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters['svg'] = Markup  # our own drawings
        environment.globals['zip'] = zip
        template = environment.get_template('report.html.jinja')
        return template.render(
            page=self,
            colours=RUN_COLOURS,
            version=mmcosub.__version__,
            now=datetime.now().strftime('%Y-%m-%d %H:%M'),
        )

    def write(self, path: Path) -> None:
        """Write the page.

        Raises:
            OSError: If it cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as partial:
            partial.write_text(self.render(), encoding='utf-8')
