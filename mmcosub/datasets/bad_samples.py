"""Unusable samples: raise or skip, and a list of them on disk."""

from pathlib import Path


class BadSampleError(ValueError):
    """Error of a sample whose files cannot be used."""


class BadSamples:
    """Policy for bad samples, with a list of them that all workers append to.

    Args:
        policy (str): 'raise' to end the run, 'skip' to take another sample instead.
        listed (Path): File of the list, one sample a line.

    Raises:
        ValueError: If the policy is unknown.
    """

    def __init__(self, policy: str, listed: Path) -> None:
        if policy not in ('raise', 'skip'):
            raise ValueError(
                f"bad_data={policy!r} must be 'raise', to end the run at a bad sample, "
                "or 'skip', to count and list it and to take another."
            )
        self.skip = policy == 'skip'
        self.listed = listed
        self._read = (-1, set[str]())  # size of the list when its names were read

    def note(self, names: str, reason: str) -> None:
        """Record a sample, once."""
        size, known = self._read
        if not self.listed.is_file() or self.listed.stat().st_size != size:
            known = {*self.names()}  # other processes write, too
        if names not in known:
            self.listed.parent.mkdir(parents=True, exist_ok=True)
            with self.listed.open('a') as file:
                file.write(f'{names}\t{" ".join(reason.split())}\n')
            known.add(names)
        self._read = self.listed.stat().st_size, known

    def names(self) -> list[str]:
        """Files of the samples recorded so far, by any process."""
        if not self.listed.is_file():
            return []
        return [line.split('\t')[0] for line in self.listed.read_text().splitlines()]


def files_of(info: dict) -> str:
    """Return the image and label map of a dataset's record of a sample, as text."""
    files = [info.get(key) for key in ('img_path', 'seg_map_path')]
    return ' and '.join(str(file) for file in files if file)
