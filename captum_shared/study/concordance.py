"""How far groups of neurons agree, such as those of several subjects, and what that comes to in plain words."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, final

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from captum_shared.study.grouping import by_chance, closest, concordance, interval, mean_likeness, p_differ, p_value

Matrix: TypeAlias = tuple[tuple[float, ...], ...]

ALPHA: Final = 0.05
"""How often groups that are alike may be said to differ."""

_MATRICES: Final = ("concordance", "low", "high", "p_differ")


@final
@dataclass(frozen=True)
class Concordance:
    """How far groups of neurons agree.

    Attributes:
        by: what the groups are: ``"subject"`` or ``"region"``.
        groups: their names.
        n_neurons: how many neurons each has.
        likeness: by what is compared, the mean likeness of a neuron of one group with one of the other, (group, group);
            within groups on the diagonal.
        concordance: C of everything that is compared together, (group, group).
        low: lower end of its 95 % interval, for other neurons of the same groups, by the jackknife.
        high: upper end.
        p_differ: how probable so low a concordance is if the neurons of the two groups are dealt anew, times the number
            of pairs of groups (Bonferroni).
        closest: the two groups that agree most.
        p_closest: how probable it is, if all neurons are dealt anew, that the closest two are as far ahead of what
            either has with a third; NaN if there is none.
        left_out: groups with too few neurons to be compared, and how many they have.
        matched: whether the groups were made equally noisy; otherwise noise may pass for a difference.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> tuning = rng.standard_normal((60, 40)) + np.repeat(rng.standard_normal((2, 40)), (40, 20), axis=0)
        >>> from captum_shared.study.grouping import likeness
        >>> alike = {"tuning": likeness(np.corrcoef(tuning))}
        >>> compared = Concordance.of(alike, ["A"] * 20 + ["B"] * 20 + ["C"] * 20, by="subject")
        >>> compared.closest, compared.differ("A", "B"), compared.differ("A", "C")
        (('A', 'B'), False, True)
    """

    by: str
    groups: tuple[str, ...]
    n_neurons: tuple[int, ...]
    likeness: Mapping[str, Matrix]
    concordance: Matrix
    low: Matrix
    high: Matrix
    p_differ: Matrix
    closest: tuple[str, str]
    p_closest: float
    left_out: Mapping[str, int]
    matched: bool

    @classmethod
    def of(
        cls,
        alike: Mapping[str, Float64[ndarray, "neuron neuron"]],
        groups: Sequence[str],
        *,
        by: str,
        strata: Sequence[str] = (),
        left_out: Mapping[str, int] | None = None,
        matched: bool = True,
        seed: int = 0,
    ) -> Concordance:
        """Compare groups of neurons.

        Args:
            alike: by what is compared, how alike any two neurons are (:func:`likeness`).
            groups: the group of each neuron, two or more, of at least 3 neurons each.
            by: what the groups are.
            strata: of each neuron something else, such as its region where subjects are compared: neurons are dealt
                anew only among those that have it in common, so that it is not mistaken for the group.
            left_out: groups that were left out, with their numbers of neurons.
            matched: whether the groups are equally noisy.
            seed: of the dealing.

        Returns:
            How far they agree.

        Raises:
            ValueError: if there are fewer groups, or fewer neurons in one.
        """
        names, labels = np.unique(np.asarray(groups), return_inverse=True)
        if len(names) < 2 or np.bincount(labels).min() < 3:
            raise ValueError(f"Expected two groups or more, of at least 3 neurons each, got {_count(groups)}.")
        kept = np.unique(np.asarray(strata or [""] * len(labels)), return_inverse=True)[1]
        joint = np.mean(list(alike.values()), axis=0)
        observed = concordance(joint, labels[None])[0]
        (one, other), lead = closest(observed)
        low, high = interval(joint, labels)
        leads = [closest(each)[1] for each in by_chance(joint, labels, kept, seed)] if len(names) > 2 else []
        return cls(
            by=by,
            groups=tuple(names.tolist()),
            n_neurons=tuple(np.bincount(labels).tolist()),
            likeness={name: _matrix(mean_likeness(each, labels[None])[0]) for name, each in alike.items()},
            concordance=_matrix(observed),
            low=_matrix(low),
            high=_matrix(high),
            p_differ=_matrix(p_differ(joint, labels, kept, seed)),
            closest=(str(names[one]), str(names[other])),
            p_closest=p_value(np.array(leads) >= lead - 1e-12) if leads else math.nan,
            left_out=dict(left_out or {}),
            matched=matched,
        )

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> Concordance:
        """Make one of what JSON holds of it.

        Args:
            entry: its attributes, with lists in place of tuples and None in place of NaN.

        Returns:
            The same as was written.
        """
        matrices = {name: _matrix(entry[name]) for name in _MATRICES}
        return cls(
            **{name: value for name, value in entry.items() if name not in matrices}
            | matrices
            | {name: tuple(entry[name]) for name in ("groups", "n_neurons", "closest")}
            | {"likeness": {name: _matrix(rows) for name, rows in entry["likeness"].items()}}
            | {"p_closest": math.nan if entry["p_closest"] is None else entry["p_closest"]}
        )

    def differ(self, one: str, other: str) -> bool:
        """Tell whether two groups differ beyond what noise lets one expect.

        Args:
            one: a group.
            other: another.

        Returns:
            Whether they do, at 5 % for all pairs of groups together.
        """
        return self.p_differ[self.groups.index(one)][self.groups.index(other)] < ALPHA

    @property
    def ahead(self) -> bool:
        """Whether the closest two are ahead of chance, and both differ from every third; of two groups always."""
        apart = all(self.differ(each, third) for each in self.closest for third in self._others)
        return not self._others or (apart and self.p_closest < ALPHA)

    @property
    def sharing(self) -> tuple[str, str] | None:
        """The two groups that are ahead and do not differ; None if there are no such."""
        return self.closest if self.ahead and not self.differ(*self.closest) else None

    @property
    def told(self) -> str:
        """What it comes to, in a few sentences."""
        unknown = "" if self.matched else " How noisy each is is not known: noise may pass for a difference."
        few = f" Too few neurons to be compared: {', '.join(self.left_out)}." if self.left_out else ""
        return f"{self._verdict}{unknown}{few}"

    @property
    def _verdict(self) -> str:
        one, other = self.closest
        agree = f"concordance {self._of(one, other):.2f}"
        pairs = [pair for pair in itertools.combinations(self.groups, 2) if self.differ(*pair)]
        if not self._others:
            p = f"{agree}; p = {self.p_differ[0][1]:.3f}"
            told = f"differ beyond noise ({p})" if pairs else f"agree as far as noise lets one tell ({p})"
            return f"{one} and {other} {told}."
        if self.ahead:
            most = max(self._of(each, third) for each in self.closest for third in self._others)
            rest = "They differ, too." if (one, other) in pairs else "Between the two no difference goes beyond noise."
            return (
                f"{one} and {other} agree more with each other than with {_listed(self._others)} ({agree}, with others "
                f"at most {most:.2f}; p = {self.p_closest:.3f}). {rest}"
            )
        differ = ", ".join(f"{first} and {second}" for first, second in pairs)
        rest = f"Different beyond noise: {differ}." if pairs else "No two differ beyond noise."
        return f"No two of {_listed(self.groups)} agree more than the others (p = {self.p_closest:.3f}). {rest}"

    @property
    def _others(self) -> list[str]:
        return [name for name in self.groups if name not in self.closest]

    def _of(self, one: str, other: str) -> float:
        return self.concordance[self.groups.index(one)][self.groups.index(other)]


def _matrix(rows: Any) -> Matrix:
    return tuple(tuple(map(float, row)) for row in rows)


def _count(groups: Sequence[str]) -> dict[str, int]:
    return {name: list(groups).count(name) for name in dict.fromkeys(groups)}


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
