"""What a folder or file holds, and the page that suits it."""

from pathlib import Path

from captum_shared.report.study import write_study_report
from captum_shared.study.result import StudyResult


def write_report(source: str | Path, path: str | Path | None = None) -> Path:
    """Write the page of whatever captum-shared made, as one HTML file that opens without a server or a network.

    Args:
        source: the folder of a study.
        path: the file; by default ``report.html`` in the folder.

    Returns:
        The file.

    Raises:
        FileNotFoundError: if there is nothing at ``source``.
        ValueError: if it is nothing that there is a page of.
    """
    source = Path(source)
    if not source.exists():
        raise FileNotFoundError(f"Expected the folder of a study or a benchmark, or maps of a pair, got no {source}.")
    if source.is_dir() and (source / "study.json").is_file():
        output = Path(path) if path is not None else source / "report.html"
        write_study_report(StudyResult.load(source), output)
        return output
    raise ValueError(
        f"Expected the folder of a study (study.json) or a benchmark (results.json), or the .npz file of "
        f"captum-shared explain, got {source}: give what one of these commands wrote."
    )
