"""What ``captum-shared study --check`` prints: what a study would do and cost, and that all is as it should be."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
import typer

from captum_shared._image_files import image_size
from captum_shared.cli.prepared import Attempts, Network, Prepared
from captum_shared.encoders.features import LatentFeatures
from captum_shared.images import load_image
from captum_shared.recordings.recording import Recording
from captum_shared.study.plan import StudyCost, StudyPlan, cost_of_study, plan_study
from captum_shared.study.run import folder_of, further_description
from captum_shared.study.settings import description

_READING: Final = 10.0  # seconds
_FIGURES: Final = (2.0, 0.4)  # seconds, and for each neuron that is explained; on one processor of 2024
_SHOWN: Final = 10


def print_check(ready: Prepared) -> None:
    """Print what a study would do and cost; nothing is written.

    Args:
        ready: all that it needs.

    Raises:
        ValueError: with all that is wrong with the images or the folder of the study.
    """
    attempt = Attempts()
    skipped = attempt(lambda: _images(ready))
    attempt.check()
    recording = ready.recording
    if skipped:
        recording = recording.select(images=[name not in skipped for name in recording.stimulus_ids])
    state = attempt(lambda: _folder(ready, recording, skipped or []))
    plan = plan_study(recording, ready.settings)
    _print_plan(ready, plan)
    for network in ready.networks:
        store = network.store
        rows = attempt(lambda: None if store is None else store.check(network.encoder, recording.paths or ()))  # noqa: B023
        if rows is None and store is not None:
            continue
        cost = attempt(lambda: cost_of_study(recording, network.encoder, ready.settings, known=store is not None))  # noqa: B023
        if cost is not None:
            _print_cost(network, cost, plan, recording)
    attempt.check()
    typer.echo(
        f"output: {ready.options.output}, {state}\n\nAll is well, and nothing was written: leave out --check to begin."
    )
    if plan.n_neurons == 0:
        typer.echo("But no neuron can take part.")


def _images(ready: Prepared) -> list[str]:
    """Print what is known of the image files; return those that are to be left out."""
    paths, names = ready.recording.paths or (), ready.recording.stimulus_ids
    sizes, faults = Counter[tuple[int, int]](), dict[str, str]()
    for name, path in zip(names, paths, strict=True):
        try:
            sizes[image_size(path)] += 1
        except (ValueError, OSError) as error:
            faults[name] = str(error)
    read, until = 0, time.monotonic() + _READING
    for row in np.random.default_rng(0).permutation(len(paths)):
        if time.monotonic() > until:
            break
        if names[row] not in faults:
            read += 1
            try:
                load_image(paths[row])
            except (ValueError, OSError) as error:
                faults[names[row]] = str(error)
    if faults and (not ready.options.skip_bad or len(faults) == len(paths)):
        told = "".join(f"\n   {fault}" for fault in [*faults.values()][:_SHOWN])
        more = f"\n   and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise ValueError(
            f"{len(faults)} of {len(paths)} images cannot be read: replace them, or leave them out with --skip-bad."
            f"{told}{more}"
        )
    _print_sizes(sizes, read, len(paths), faults)
    return list(faults)


def _print_sizes(sizes: Counter[tuple[int, int]], read: int, number: int, faults: dict[str, str]) -> None:
    (width, height), most = sizes.most_common(1)[0]
    alike = (
        f"all {width} x {height} pixels"
        if most == number
        else f"of {len(sizes)} sizes, mostly {width} x {height} pixels"
    )
    whole = "all read" if read >= number - len(faults) else f"{read} of them read whole, of the others the beginning"
    left = f", {len(faults)} left out as they cannot be read" if faults else ""
    typer.echo(f"files: {number} images, {alike}; {whole}{left}")


def _folder(ready: Prepared, recording: Recording, skipped: Sequence[str]) -> str:
    """Tell what the folder of the study holds, or refuse it."""
    first, output = ready.networks[0], ready.options.output
    if not output.exists() or not any(output.iterdir() if output.is_dir() else [output]):
        return "a new folder" if not output.exists() else "an empty folder"
    described = description(recording, first.encoder, ready.settings, model=first.name)
    described |= further_description(first.store, ready.behaviour, skipped)
    held = folder_of(output, described, resume=ready.options.resume).look()
    return {"finished": "which holds this study, finished", "begun": "which holds this study, begun: it goes on"}.get(
        held, "a folder that can be used"
    )


def _print_plan(ready: Prepared, plan: StudyPlan) -> None:
    settings = ready.settings
    categories = ", ".join(f"{name or '(none)'} {number}" for name, number in [*plan.images.items()][: _SHOWN + 1])
    more = ", ..." if len(plan.images) > _SHOWN + 1 else ""
    typer.echo(f"images: {categories}{more}; {settings.preferred} is preferred")
    groups = ", ".join(
        f"{' '.join(filter(None, group)) or 'region unknown'} {number}" for group, number in plan.neurons.items()
    )
    typer.echo(f"neurons: {sum(plan.neurons.values())} ({groups}), of which {plan.n_neurons} can take part")
    for name, reason in [*plan.excluded.items()][:_SHOWN]:
        typer.echo(f"left out: {name}, {reason}")
    if len(plan.excluded) > _SHOWN:
        typer.echo(f"left out: {len(plan.excluded) - _SHOWN} more")
    typer.echo(f"reliability of the responses: {plan.reliability}")
    typer.echo(
        f"pairs: up to {settings.n_pairs} a neuron ({settings.n_strong} strong, {settings.n_dissimilar} dissimilar, "
        f"{settings.n_weak} weak), {plan.n_pairs} in all"
    )
    for name, passes in plan.passes.items():
        told = "passes unknown" if passes is None else f"{passes[0]:,} passes forward and {passes[1]:,} backward"
        typer.echo(f"method: {name}, {told}")


def _print_cost(network: Network, cost: StudyCost, plan: StudyPlan, recording: Recording) -> None:
    encoder = network.encoder
    layers = encoder.layer if isinstance(encoder, LatentFeatures) else f"the best of {', '.join(encoder.layers)}"
    passes = "features known" if network.store is not None else f"{recording.n_images:,} passes for the features"
    typer.echo(f"network: {network.name} at {layers}; {passes}")
    seconds = {**cost.seconds, "figures": _FIGURES[0] + _FIGURES[1] * plan.n_neurons}
    parts = ", ".join(f"{name} {_duration(taken)}" for name, taken in seconds.items())
    size = f"{_size(cost.memory)} of memory, {_size(cost.disk)} on the disk without figures"
    typer.echo(
        f"estimated from {min(recording.n_images, 4)} images, so within a factor of 2 or 3: "
        f"{_duration(sum(seconds.values()))} ({parts}), {size}"
    )


def _duration(seconds: float) -> str:
    """Time as people say it.

    Example:
        >>> _duration(4.2), _duration(130.0), _duration(9000.0)
        ('4 s', '2 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _size(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(size, 1e5) / 1e6:.1f} MB"
