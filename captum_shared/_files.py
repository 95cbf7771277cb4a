"""Files that are written whole or not at all, and over nothing that is not the command's own."""

import hashlib
import os
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_PREFIX: Final = ".captum-shared-"
_LONGEST: Final = 80  # bytes that a name made of a text may have


@contextmanager
def write_atomically(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name beside a file; on success it takes the file's name, on failure it goes.

    What was written is on the disk before it takes the name, so that also after a power failure the file is the old one
    or the new one.

    Args:
        path: the file to write; its folder is made if absent.

    Yields:
        A path with the same extension to write to.

    Example:
        >>> folder = tempfile.TemporaryDirectory()
        >>> with write_atomically(Path(folder.name) / "answer.txt") as path:
        ...     _ = path.write_text("42")
        >>> os.listdir(folder.name)
        ['answer.txt']
        >>> folder.cleanup()
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=_PREFIX, suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        move(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def move(written: Path, path: Path) -> None:
    """Give a written file its name, once all of it is on the disk.

    Args:
        written: the file.
        path: its name from now on, in the same file system.
    """
    _sync(written)
    written.replace(path)
    if os.name == "posix":  # where a folder is a file of names
        _sync(path.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)  # Windows wants what may be written to
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path) -> None:
    """Remove what a process that was killed left half-written in a folder that nobody else writes to now.

    Args:
        folder: the folder; it need not exist.
    """
    for left in folder.glob(f"{_PREFIX}*"):
        left.unlink(missing_ok=True)


def half_written(path: Path) -> bool:
    """Tell whether a file has one of the temporary names of :func:`write_atomically`.

    Args:
        path: the file.

    Returns:
        Whether it has.

    Example:
        >>> half_written(Path("out/.captum-shared-x1.png")), half_written(Path("out/pair.png"))
        (True, False)
    """
    return path.name.startswith(_PREFIX)


def digest_of(path: str | Path) -> str:
    """Sum up the content of a file.

    Args:
        path: the file.

    Returns:
        SHA-256, in hexadecimal, as ``sha256sum`` prints it.
    """
    total = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            total.update(block)
    return total.hexdigest()


def check_outputs(outputs: Iterable[Path], *, read: Iterable[Path], made: Iterable[Path] = (), force: bool) -> None:
    """Refuse what a command should not write over, before it works.

    Args:
        outputs: the files that it will write.
        read: files and folders that it reads; these are never written over, nor is what lies in such a folder.
        made: existing files that are known to be of an earlier run.
        force: whether other files that exist may be replaced.

    Raises:
        FileExistsError: if an output is read, or exists and is nothing that an earlier run made.
        OSError: if an output cannot be written: its name is too long, its folder is a file or may not be written to.

    Example:
        >>> check_outputs([Path("pair.png")], read=[Path("mug.png")], force=False)
        >>> check_outputs([Path("a" * 300 + ".png")], read=[], force=False)
        Traceback (most recent call last):
        OSError: [Errno 36] File name too long: 'aaa...'
    """
    read, own = [path.resolve() for path in read], [path.resolve() for path in made]
    for output in outputs:
        exists = _exists(output)
        if exists and any(_same(output, each) or each in output.resolve().parents for each in read):
            raise FileExistsError(f"Expected an output apart from what is read, got {output}: choose another --output.")
        if exists and not force and output.resolve() not in own:
            raise FileExistsError(
                f"{output} exists already and is not known to be of an earlier run: choose another --output, or "
                "replace it by --force."
            )
        check_place(output)


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:  # one of them is not there
        return False


def check_place(output: Path) -> None:
    """Raise an error if a file or folder cannot be made, as far as that can be told before there is work to lose.

    Args:
        output: the file or folder.

    Raises:
        OSError: if its name is too long, what it should lie in is a file, or may not be written to.
    """
    _exists(output)
    folder = output.absolute().parent
    while not _exists(folder):
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(f"Expected a folder to write {output} to, but {folder} is a file: choose another.")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"Expected a folder to write {output} to, but {folder} may not be written to.")


def file_names(texts: Sequence[str], *, kept: str = "") -> list[str]:
    """Name files after texts of any kind: each differently, also where capitals do not count.

    Args:
        texts: what the files are named after, each once.
        kept: what to keep besides letters and digits, where no text begins with it.

    Returns:
        Letters, digits and ``_`` of each; and a part of its SHA-256 if another has the same, or it is too long.

    Example:
        >>> file_names(["IT", "a b", ""])
        ['IT', 'a_b', 'all']
        >>> [name.split("-")[0] for name in file_names(["a/b", "a_b", "A b"])]
        ['a_b', 'a_b', 'A_b']
        >>> len(file_names(["long" * 100])[0])
        89
    """
    plain = [
        "".join(letter if letter.isalnum() or letter in kept else "_" for letter in text) or "all" for text in texts
    ]
    folded = [unicodedata.normalize("NFC", name).casefold() for name in plain]
    names = []
    for text, name, same in zip(texts, plain, folded, strict=True):
        short = name.encode()[:_LONGEST].decode(errors="ignore")
        unique = short == name and (folded.count(same) == 1 or text == name == name.casefold())
        sum_ = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
        names.append(name if unique else f"{short}-{sum_[:8]}")
    return names
