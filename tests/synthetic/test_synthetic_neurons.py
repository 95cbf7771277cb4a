import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import RidgeCV

from captum_shared.encoders.embedded import embedded_network
from captum_shared.synthetic.neurons import (
    TYPICAL_AREA,
    SyntheticNeuron,
    category_selective_neurons,
    estimated_gains,
    record,
)
from captum_shared.synthetic.stimuli import CATEGORIES, PARTS, Stimulus, draw_stimuli, visible_area

DEMO = category_selective_neurons(6)


@pytest.fixture(scope="module")
def creatures() -> list[Stimulus]:
    return draw_stimuli("creature", 500, seed=31)


@pytest.fixture(scope="module")
def artefacts() -> list[Stimulus]:
    return draw_stimuli("artefact", 400, seed=31)


def showing(**shares: float) -> Stimulus:
    """A stimulus of 100 x 100 pixels on which parts show on the given fractions of the image."""
    masks, start = {}, 0
    for part, share in shares.items():
        stop = start + round(share * 10_000)
        masks[part] = (torch.arange(10_000) >= start).logical_and(torch.arange(10_000) < stop).reshape(100, 100)
        start = stop
    return Stimulus(torch.zeros(3, 100, 100), masks, "artefact")


def correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Of each column with the same column of the other."""
    first, second = first - first.mean(axis=0), second - second.mean(axis=0)
    return (first * second).sum(axis=0) / np.sqrt((first**2).sum(axis=0) * (second**2).sum(axis=0))


def test_rate_by_hand():
    neuron = SyntheticNeuron("neuron", {"wheel": 20.0, "box": 6.0}, baseline=3.0)
    typical, thrice = TYPICAL_AREA["wheel"], 3 * TYPICAL_AREA["box"]
    stimuli = [
        showing(),
        showing(wheel=typical),
        showing(box=thrice),
        showing(wheel=typical, box=thrice),
        showing(head=0.3),
    ]
    np.testing.assert_allclose(neuron.rate(stimuli), [3, 23, 12, 32, 3])  # three times the typical area: 1.5 gains


def test_inhibition_stops_at_silence():
    neuron = SyntheticNeuron("neuron", {"head": -20.0}, baseline=3.0)
    assert neuron.rate([showing(head=0.1)]) == 0


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(list(PARTS)), st.floats(0, 0.9), st.floats(0, 0.9), st.floats(0, 100))
def test_rate_grows_with_area_and_saturates(part, area, other, gain):
    neuron = SyntheticNeuron("neuron", {part: gain}, baseline=1.0)
    small, large = neuron.rate([showing(**{part: min(area, other)}), showing(**{part: max(area, other)})])
    assert 1 <= small <= large <= 1 + 2 * gain


def test_neurons_do_not_depend_on_their_number_and_follow_the_seed():
    assert category_selective_neurons(8)[:6] == DEMO
    assert category_selective_neurons(8, seed=1)[0] != DEMO[0]
    assert category_selective_neurons(8, seed=1)[0].tuning.keys() == DEMO[0].tuning.keys()
    assert category_selective_neurons(8, seed=1)[6:] != category_selective_neurons(8)[6:]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31))
def test_two_or_three_drivers_of_which_artefacts_share_one(seed):
    for neuron in category_selective_neurons(10, seed=seed):
        assert len(neuron.tuning) in (2, 3)
        assert neuron.tuning.keys() & {"torso", "limb", "tail", "wing", "horn"}
        assert all(gain > 0 for gain in neuron.tuning.values())
    assert len({neuron.name for neuron in category_selective_neurons(10, seed=seed)}) == 10


@pytest.mark.parametrize("part", PARTS)
def test_typical_areas_are_typical(part, creatures, artefacts):
    areas = np.array([visible_area(stimulus, part) for stimulus in (*creatures, *artefacts)])
    assert np.median(areas[areas > 0]) == pytest.approx(TYPICAL_AREA[part], rel=0.35)


@pytest.mark.parametrize("seed", [0, 1])
def test_neurons_prefer_creatures_though_some_artefacts_drive_them_strongly(creatures, artefacts, seed):
    for neuron in category_selective_neurons(12, seed=seed):
        preferred, other = neuron.rate(creatures[:400]), neuron.rate(artefacts)
        assert (preferred.mean() - other.mean()) / (preferred.mean() + other.mean()) > 0.1
        assert np.sort(other)[-5] > preferred.mean()


def test_reliability_is_that_of_a_recording(creatures, artefacts):
    stimuli = [*creatures[:400], *artefacts]
    first, second = record(DEMO, stimuli)
    reliability = correlation(first, second)
    assert (reliability > 0.7).all()
    assert (reliability < 0.95).all()


def test_counts_have_the_mean_and_variance_of_poisson():
    neurons = [SyntheticNeuron("weak", {}, baseline=4.0), SyntheticNeuron("strong", {}, baseline=40.0)]
    recorded = record(neurons, [showing()] * 200, repetitions=5, phases=50, window=0.1, seed=3)
    samples, rates = recorded.reshape(-1, 2), np.array([4.0, 40.0])
    np.testing.assert_allclose(samples.mean(axis=0), rates, rtol=0.03)
    np.testing.assert_allclose(samples.var(axis=0), rates / (5 * 0.1), rtol=0.06)  # rate / (repetitions * window)
    np.testing.assert_allclose(samples * 0.5, np.round(samples * 0.5), atol=1e-12)  # whole spikes


def test_phases_differ_and_seeds_repeat(creatures):
    first = record(DEMO, creatures[:20], phases=3, seed=5)
    assert first.shape == (3, 20, 6)
    assert first.dtype == np.float64
    assert not np.array_equal(first[0], first[1])
    np.testing.assert_array_equal(first, record(DEMO, creatures[:20], phases=3, seed=5))
    assert not np.array_equal(first, record(DEMO, creatures[:20], phases=3, seed=6))


def test_a_readout_of_the_network_fitted_on_creatures_predicts_both_categories(creatures, artefacts):
    network = embedded_network()
    stimuli = [*creatures, *artefacts]
    with torch.no_grad():
        images = torch.stack([stimulus.image for stimulus in stimuli])
        pooled = [network.features(network.normalise(batch)).mean(dim=(2, 3)) for batch in images.split(100)]
    features = torch.cat(pooled).double().numpy()
    responses = record(DEMO, stimuli).mean(axis=0)
    readout = RidgeCV(np.logspace(-3, 3, 13), alpha_per_target=True).fit(features[:300], responses[:300])
    predicted = readout.predict(features)
    assert (correlation(predicted[300:500], responses[300:500]) >= 0.6).all()
    assert (correlation(predicted[500:], responses[500:]) >= 0.3).all()


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: SyntheticNeuron("neuron", {"nose": 1.0}, baseline=1.0), "got 'nose'"),
        (lambda: SyntheticNeuron("neuron", {}, baseline=-1.0), "got -1.0"),
        (lambda: category_selective_neurons(0), "got n=0"),
        (lambda: category_selective_neurons(1, seed=-1), "seed=-1"),
        (lambda: record([], [showing()]), "got 0 and 1"),
        (lambda: record(DEMO, []), "got 6 and 0"),
        (lambda: record(DEMO, [showing()], repetitions=0), "repetitions=0"),
        (lambda: record(DEMO, [showing()], phases=0), "phases=0"),
        (lambda: record(DEMO, [showing()], window=0.0), r"window=0\.0"),
        (lambda: record(DEMO, [showing()], seed=-2), "seed=-2"),
    ],
)
def test_errors_say_what_came(call, told):
    with pytest.raises(ValueError, match=told):
        call()


def test_categories_come_with_the_preferred_one_first():
    assert CATEGORIES == ("creature", "artefact")


def test_estimated_gains_of_true_rates_are_the_tuning(creatures):
    neurons = category_selective_neurons(10)
    gains = estimated_gains(np.stack([neuron.rate(creatures[:60]) for neuron in neurons], axis=1), creatures[:60])
    for neuron, own in zip(neurons, gains, strict=True):
        for part, gain in zip(PARTS, own, strict=True):
            if any(part in stimulus.masks for stimulus in creatures[:60]):
                assert gain == pytest.approx(neuron.tuning.get(part, 0.0), abs=1e-9)
            else:
                assert np.isnan(gain)
    assert np.isnan(gains).any()


def test_too_few_images_for_estimated_gains(creatures):
    with pytest.raises(ValueError, match=r"tell 7 parts apart, got 7 that do not"):
        estimated_gains(np.ones((7, 1)), creatures[:7])
