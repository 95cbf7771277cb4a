"""Published recordings of real neurons."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import scipy.io
from jaxtyping import Bool, Float64
from numpy import ndarray
from PIL import Image
from scipy.spatial.distance import squareform
from sklearn.decomposition import KernelPCA

from captum_shared._files import write_atomically
from captum_shared.recordings.recording import Recording
from captum_shared.recordings.scenes import natural_scenes
from captum_shared.recordings.ventral_stream import things_ventral_stream

__all__ = ["kriegeskorte92", "natural_scenes", "preference", "response_modes", "things_ventral_stream"]

KRIEGESKORTE92_URL = (
    "https://raw.githubusercontent.com/rsagroup/rsatoolbox/9ac4b5cdcb702c02481cabba33c551d187d50b6c/"
    "demos/92imageData/Kriegeskorte_Neuron2008_supplementalData.mat"
)
"""The published file in the repository of the RSA toolbox, at a commit that stays."""

KRIEGESKORTE92_SHA256 = "06f21214399a5d43dc264eed19a7f4b8daf11c8622a59eec3e106064ce5e3504"
"""What tells that file from any other."""

_NOT_DOWNLOADED = "Expected to download {}, got: {}. Try again later, or pass the path of a copy that you have."
_CATEGORIES = {"bodypart": "body", "face": "face", "inanimate": "object"}


def kriegeskorte92(
    path: str | os.PathLike[str] | None = None, *, n_modes: int = 4, cache: str | os.PathLike[str] | None = None
) -> Recording:
    """What 674 neurons of macaque inferotemporal cortex make of 92 photographs, as far as it is published.

    The published file holds the images and their dissimilarities, not the responses of single neurons. The channels of
    this recording are therefore not neurons: ``"mode 1"``, ``"mode 2"``, ... are the :func:`response_modes` of the
    population, ``"body preference"`` and ``"face preference"`` its :func:`preference` for the images of these
    categories. There is one phase and no repetition, so nothing is known of the reliability.

    Args:
        path: the published file, ``Kriegeskorte_Neuron2008_supplementalData.mat``; without it, it is downloaded once
            into the cache (3.6 MB).
        n_modes: how many modes, from 1 to one less than there are images.
        cache: folder for the download and for the images, which are written as PNG files of 175 x 175 pixels. Default:
            the user's folder for such files, on Linux ``$XDG_CACHE_HOME/captum-shared`` or ``~/.cache/captum-shared``.

    Returns:
        Responses (1, 92, n_modes + 2), without unit; the categories are ``"body"`` (24 images: parts of bodies, and
        whole ones), ``"face"`` (24) and ``"object"`` (44), the region ``"IT"``, the subject ``"macaque"``.

    Raises:
        FileNotFoundError: if there is no file at ``path``, or none and it cannot be downloaded.
        ValueError: if a file is not the published one to the last bit, or ``n_modes`` is out of range.

    Example:
        >>> kriegeskorte92("macaque.mat")
        Traceback (most recent call last):
        FileNotFoundError: Expected the published file of the 92 images, got no file at macaque.mat: correct the path,
        or leave it out to download the file.

    Images and dissimilarities: Kriegeskorte et al. (Neuron 2008); neurons: Kiani et al. (Journal of Neurophysiology
    2007), two monkeys.
    """
    folder = Path(pooch.os_cache("captum-shared") if cache is None else cache)
    published = scipy.io.loadmat(_downloaded(folder) if path is None else _checked(Path(path)), simplify_cells=True)
    stimuli: Sequence[dict[str, Any]] = published["stimuli_92objs"]
    dissimilarities = squareform(published["RDMs_mIT_hIT_fig1"][0]["RDM"])
    identifiers = tuple(f"{n:02d}_{one['category'].replace(' ', '_')}" for n, one in enumerate(stimuli, start=1))
    categories = tuple(_CATEGORIES[one["category"].split()[-1]] for one in stimuli)
    preferences = {name: preference(dissimilarities, np.array(categories) == name) for name in ("body", "face")}
    responses = np.column_stack([response_modes(dissimilarities, n_modes), *preferences.values()])
    names = (*(f"mode {m}" for m in range(1, n_modes + 1)), *(f"{name} preference" for name in preferences))
    paths = tuple(folder / "kriegeskorte92" / f"{identifier}.png" for identifier in identifiers)
    for file, stimulus in zip(paths, stimuli, strict=True):
        if not file.exists():
            with write_atomically(file) as temporary:
                Image.fromarray(stimulus["image"]).save(temporary)
    return Recording(
        responses=responses[None],
        stimulus_ids=identifiers,
        categories=categories,
        neuron_names=names,
        regions=("IT",) * len(names),
        subjects=("macaque",) * len(names),
        paths=paths,
    )


def response_modes(dissimilarities: Float64[ndarray, "image image"], n_modes: int) -> Float64[ndarray, "image mode"]:
    r"""Principal components of a population's responses, from the dissimilarities of its responses to the images.

    .. math:: C (1 - D) C = \sum_m \lambda_m u_m u_m^\top, \qquad \text{mode}_m = \sqrt{\lambda_m}\, u_m

    with C the matrix that subtracts the mean over images. Where D is one minus the correlation across neurons, 1 - D is
    the Gram matrix of the responses, standardised across neurons image by image, and mode m is that weighted sum of
    these responses, with weights of unit norm, which has the largest variance of all that are uncorrelated with the
    modes before it. The signs are arbitrary: here the image with the largest absolute value has a positive one.

    Args:
        dissimilarities: D, symmetric with a zero diagonal: one minus the Pearson correlation.
        n_modes: how many, from 1 to one less than there are images.

    Returns:
        The modes, by decreasing variance; each has the mean 0 over the images.

    Raises:
        ValueError: if ``n_modes`` is out of range.

    Example:
        >>> alike, opposite = 0.0, 2.0
        >>> D = np.array([[alike, alike, opposite], [alike, alike, opposite], [opposite, opposite, alike]])
        >>> response_modes(D, 1).round(3)[:, 0]
        array([-0.667, -0.667,  1.333])
    """
    if not 1 <= n_modes < len(dissimilarities):
        raise ValueError(f"Expected n_modes from 1 to {len(dissimilarities) - 1}, one less than images, got {n_modes}.")
    modes: ndarray = KernelPCA(n_modes, kernel="precomputed").fit_transform(1 - dissimilarities)
    return modes


def preference(
    dissimilarities: Float64[ndarray, "image image"], members: Bool[ndarray, " image"]
) -> Float64[ndarray, " image"]:
    r"""How much like the images of a category the population responds to each image.

    .. math:: p_i = \operatorname*{mean}_{j \in \text{members},\, j \neq i} (1 - D_{ij})

    Args:
        dissimilarities: D, one minus the Pearson correlation of the responses to two images.
        members: which images are of the category, at least 2. A member is not compared with itself.

    Returns:
        Mean correlations, in [-1, 1].

    Raises:
        ValueError: if there are fewer than 2 members.

    Example:
        >>> D = np.array([[0.0, 0.5, 0.75], [0.5, 0.0, 1.25], [0.75, 1.25, 0.0]])
        >>> preference(D, np.array([True, True, False]))
        array([0.5, 0.5, 0. ])
    """
    if members.sum() < 2:
        raise ValueError(f"Expected at least 2 images of the category, got {members.sum()}.")
    others = np.where(members & ~np.eye(len(members), dtype=bool), 1.0, 0.0)
    means: ndarray = (others * (1 - dissimilarities)).sum(axis=1) / others.sum(axis=1)
    return means


def _checked(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(
            f"Expected the published file of the 92 images, got no file at {path}: correct the path, or leave it out "
            "to download the file."
        )
    digest = pooch.file_hash(path)
    if digest != KRIEGESKORTE92_SHA256:
        raise ValueError(
            f"Expected the published file with the SHA-256 {KRIEGESKORTE92_SHA256}, got {digest} for {path}: it is "
            "another file, or damaged. Leave the path out to download the file."
        )
    return path


def _downloaded(folder: Path) -> Path:
    """Download the published file unless the folder has it, whole; pooch compares the SHA-256 either way."""
    try:
        file = pooch.retrieve(
            KRIEGESKORTE92_URL, f"sha256:{KRIEGESKORTE92_SHA256}", fname=Path(KRIEGESKORTE92_URL).name, path=folder
        )
    except OSError as error:  # among them all errors of requests
        raise FileNotFoundError(_NOT_DOWNLOADED.format(KRIEGESKORTE92_URL, error)) from error
    except ValueError as error:
        raise ValueError(_NOT_DOWNLOADED.format(KRIEGESKORTE92_URL, error)) from error
    return Path(file)
