# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # How much can be concluded?
#
# Any neuron gets a map, also one that the features know nothing of; any two images share something; and any two methods disagree.
# This tutorial gives a number to each piece of advice: which neurons to leave out, which layer to take, what a map's total and
# its significance mean, which method to believe, and what never to conclude. The recordings are simulated and the images are
# drawn, so that the truth is known. Nothing is downloaded.

# %%
# %matplotlib inline
# %config InlineBackend.figure_formats = ["jpeg"]
# %config InlineBackend.print_figure_kwargs = dict(bbox_inches=None, pil_kwargs=dict(quality=88))
import numpy as np
import torch
from matplotlib.figure import Figure

from captum_shared import (
    LatentFeatures,
    LayerFeatures,
    NeuronSimilarity,
    ReferenceBank,
    explain,
    fit_readout,
    heldout_correlation,
    heldout_null_interval,
    noise_corrected,
    reliability,
    select_layer,
)
from captum_shared.attr import significance
from captum_shared.encoders import embedded_network, local_scatter
from captum_shared.evaluation import (
    auroc,
    known_regions,
    map_agreement,
    network_agreement,
    parts_task,
    positive_mass,
    readout_agreement,
    reference_agreement,
)
from captum_shared.figures import draw_overlay, scale
from captum_shared.methods import METHODS
from captum_shared.synthetic import category_selective_neurons, draw_stimuli, record

# %% [markdown]
# ## A recording with neurons that cannot be explained
#
# 12 neurons that parts of the images drive, recorded in two phases; and the same 12 with their responses dealt anew among the
# images, **the same way in both phases**: as reliable as before, and unrelated to anything that an image shows.

# %%
creatures = draw_stimuli("creature", 200, seed=1)
artefacts = draw_stimuli("artefact", 100, seed=2)
images = torch.stack([stimulus.image for stimulus in creatures])
objects = torch.stack([stimulus.image for stimulus in artefacts])

neurons = category_selective_neurons(12)
phases = record(neurons, [*creatures, *artefacts], repetitions=4, seed=3)
dealt = np.random.default_rng(0).permutation(200)
phases = np.concatenate([phases, phases], axis=2)
phases[:, :200, 12:] = phases[:, dealt, 12:]
bodies, others = phases[:, :200], phases.mean(0)[200:]
responses = bodies.mean(0)
driven = np.arange(24) < 12

# %% [markdown]
# **Real weights and your own recording**: put your own in place of these lines, and the rest stays as it is.
#
# ```python
# from captum_shared import Recording
# from captum_shared.encoders import encoder_by_name
#
# recording = Recording.load("recording.nc")
# features = encoder_by_name("resnet50", "layer4", weights="DEFAULT")
# ```
#
# ## Which neurons to leave out
#
# Three numbers for each neuron. *Reliability*: the correlation of its two phases, which says how much of it is noise. *Held-out
# correlation*: of predictions with responses to images that the fit has not seen. *Null interval*: where this correlation lies
# in 95 % of cases if nothing predicts the neuron, by a permutation test that repeats the whole cross-validation.

# %%
features = LatentFeatures(embedded_network(), "features")
with local_scatter(features) as scatter:
    latent = features(images)
latent_objects = features(objects)

steady = reliability(bodies)
heldout = heldout_correlation(latent, responses)
low, high = heldout_null_interval(latent, responses)
explained = heldout > high
fitted = [
    np.corrcoef(fit_readout(latent, responses[:, [k]])(latent)[:, 0].numpy(), responses[:, k])[0, 1] for k in range(24)
]

figure = Figure(figsize=(7.2, 3.6), layout="constrained", dpi=100)
axes = figure.subplots()
line = np.linspace(0.01, 0.99, 100)
axes.axhspan(float(low.mean()), float(high.mean()), color="#dddddd", label="null interval")
axes.plot(line, np.sqrt(2 * line / (1 + line)), color="black", linewidth=1, label="ceiling that noise sets")
for chosen, colour, name in ((driven, "#0072B2", "driven by parts"), (~driven, "#D55E00", "dealt anew")):
    axes.plot(steady[chosen], heldout[chosen], "o", color=colour, label=f"{name}, held-out images")
    axes.plot(steady[chosen], np.array(fitted)[chosen], "o", color=colour, mfc="none", label="... images of the fit")
axes.set(xlabel="reliability of the neuron", ylabel="correlation with predictions", xlim=(0.3, 1), ylim=(-0.4, 1.05))
axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
axes.spines[["top", "right"]].set_visible(False)
figure

# %%
corrected = noise_corrected(heldout, steady, phases=2)
print(f"driven by parts: reliability {steady[driven].mean():.2f}, held out {heldout[driven].mean():.2f}, ", end="")
print(f"corrected for noise {corrected[driven].mean():.2f}, explained {explained[driven].sum()} of 12")
print(f"dealt anew:      reliability {steady[~driven].mean():.2f}, held out {heldout[~driven].mean():.2f}, ", end="")
print(f"on images of the fit {np.mean(np.array(fitted)[~driven]):.2f}, explained {explained[~driven].sum()} of 12")

# %% [markdown]
# **Reliability says that there is something to explain; only held-out prediction says that these features can.** The fit's own
# images say nothing. Of neurons without any signal 2.5 % lie above the interval by design (1.8 % of 960 were measured,
# `benchmarks/explained.py`): of a hundred neurons, expect two or three that should not be there.
#
# ### What their maps look like
#
# Just as convincing. Each neuron's strongest artefact and its best reference, explained; then again, with a readout fitted to
# the one half of the creatures, and to the other half. A map that tells of the neuron is the same from both halves.


# %%
def similarity_of(chosen):
    """The neurons, as they are read out from some of the creatures."""
    readout = fit_readout(latent[chosen], responses[chosen], center=True)
    return NeuronSimilarity(features, readout.with_examples(latent[chosen], scatter.mean))


everything = np.arange(200)
whole, *halves = (similarity_of(chosen) for chosen in (everything, everything[::2], everything[1::2]))
bank = ReferenceBank(whole, images, responses=torch.from_numpy(responses))
strongest = others.argmax(0).tolist()
matches = torch.cat([bank.search(objects[index : index + 1], target=k).indices[0] for k, index in enumerate(strongest)])
pair = objects[strongest], images[matches]
targets = list(range(24))

of_all = explain(whole, pair, targets, methods=["recommended"])["recommended"]
of_halves = [explain(half, pair, targets, methods=["recommended"])["recommended"].heatmaps for half in halves]
stable = np.mean([map_agreement(*side).numpy() for side in zip(*of_halves, strict=True)], axis=0)

figure = Figure(figsize=(8.6, 4.6), layout="constrained", dpi=100)
grid = figure.subplots(2, 4)
for row, k, name in zip(grid, (1, 13), ("driven by parts", "dealt anew"), strict=True):
    for column, (pictures, heats) in enumerate(zip(pair, of_all.heatmaps, strict=True)):
        picture = pictures[k].permute(1, 2, 0).numpy()
        row[2 * column].imshow(picture)
        row[2 * column].set_axis_off()
        draw_overlay(row[2 * column + 1], picture, heats[k].numpy(), scale(float(heats[k].quantile(0.98))))
    row[0].set_title(f"{name}: shared {float(of_all.shared[k]):.2f}", fontsize=9, loc="left")
figure

# %%
for name, chosen in (("driven by parts", driven), ("dealt anew", ~driven)):
    total = float(of_all.shared[torch.from_numpy(chosen)].mean())
    print(f"{name:<16} maps share {total:.2f} on average; agreement of the two halves {stable[chosen].mean():.2f}")

# %% [markdown]
# **Neither a map nor its total warns.** `captum-shared study` therefore gives no maps to neurons that are not predicted better
# than chance, unless asked (`--all-neurons`). Whoever makes maps by hand should do the same.
#
# ## Which layer
#
# `select_layer` (`--layer auto` of the commands) takes the layer that predicts held-out images best. Does a layer that predicts
# better also explain better? The truth is known: `known_regions` tells which pixels of a pair are shared *and* drive the neuron.

# %%
network = embedded_network()
names = ["features.5", "features.8", "features.11", "features.14", "features"]
layers = LayerFeatures(network, names)
of_layers = layers.compute(images)
choice = select_layer(of_layers, responses[:, :12])

regions = [
    known_regions(artefacts[int(a)], creatures[int(c)], neuron)[:, 0]
    for a, c, neuron in zip(strongest[:12], matches[:12], neurons, strict=True)
]
answered = [k for k in range(12) if all(side.any() for side in regions[k])]
chance = float(torch.stack([regions[k] for k in answered]).float().mean())


def truth_at(layer: str) -> float:
    """Share of the recommended maps on what is shared and drives the neuron."""
    at = LatentFeatures(network, layer)
    with local_scatter(at) as spread:
        known = at(images)
    readout = fit_readout(known, responses[:, :12], center=True).with_examples(known, spread.mean)
    own = pair[0][answered], pair[1][answered]
    maps = explain(NeuronSimilarity(at, readout), own, answered, methods=["recommended"])["recommended"].heatmaps
    sides = [torch.stack([regions[k][side] for k in answered]) for side in (0, 1)]
    return float(torch.cat([positive_mass(*each) for each in zip(maps, sides, strict=True)]).nanmean())


truth = {layer: truth_at(layer) for layer in names}

figure = Figure(figsize=(5.6, 3.2), layout="constrained", dpi=100)
axes = figure.subplots()
axes.plot([choice.means[layer] for layer in names], list(truth.values()), "o-", color="#0072B2")
for n, layer in enumerate(names):  # above and below in turn
    offset = (0, -15 if n % 2 else 8)
    axes.annotate(layer, (choice.means[layer], truth[layer]), textcoords="offset points", xytext=offset, ha="center")
axes.axhline(chance, color="black", linestyle=":", linewidth=1)
axes.text(choice.means[names[0]], chance, "area of the answer", fontsize=8, va="bottom")
axes.set(xlabel="held-out correlation, mean of 12 neurons", ylabel="map on the answer", ylim=(0, 1))
axes.margins(x=0.15)
axes.spines[["top", "right"]].set_visible(False)
axes.set_title(f"chosen: {choice.layer}", fontsize=10)
figure

# %% [markdown]
# It does, on the whole: but the order of the middle layers is not that of their predictions. Take the layer that predicts best; among layers that predict alike, none is the right one, and a map that changes between
# them should not be reported as one.
#
# ## What the total means, and what significance means
#
# Now pairs made for the purpose: the image and its reference share one part that drives the neuron; a *control* reference drives
# the neuron as much, but shares no driver with the image. `significance` compares a pair's maps with those of the same image
# and references that do not drive the neuron: here drawings of other pairs without any of its drivers.

# %%
task = parts_task(n_neurons=12, n_fitted=100)
trials = [task.trial(index) for index in range(48)]
drivers = {trial.neuron: {*trial.contents[0][:2], trial.contents[1][1]} for trial in trials}
pool = [
    (image, set(parts))
    for trial in (task.trial(1000 + index) for index in range(40))
    for image, parts in zip(trial.images, trial.contents, strict=True)
]

totals, p_values = [], []
for trial in trials:
    silent = torch.stack([image for image, parts in pool if not parts & drivers[trial.neuron]][:19])
    references = trial.images[1:]  # the one that shares a driver, and the control
    both = trial.images[:1].expand_as(references), references
    totals.append(explain(task.similarity, both, trial.neuron, methods=["ours-correspondence"]))
    p_values.append(significance(task.similarity, both, trial.neuron, null_references=silent).p_values)
shared, control = torch.stack([each["ours-correspondence"].shared for each in totals]).unbind(1)
p_shared, p_control = torch.stack(p_values).unbind(1)
told_apart = auroc(shared, control)
power, false_alarms = (float((p <= 0.05).double().mean()) for p in (p_shared, p_control))

figure = Figure(figsize=(8.6, 2.9), layout="constrained", dpi=100)
left, right = figure.subplots(1, 2)
edges = np.geomspace(1e-4, 1, 25)
for values, colour, name in ((shared, "#0072B2", "a driver is shared"), (control, "#999999", "control: none is")):
    left.hist(values.clamp(min=1e-4), bins=edges, color=colour, alpha=0.75, label=name)
left.set(xscale="log", xlabel="total of the map (shared, of 1)", ylabel="pairs")
left.set_title(f"tells them apart with an AUROC of {float(told_apart):.2f}", fontsize=9)
for p, colour, name in (
    (p_shared, "#0072B2", f"{power:.0%} significant"),
    (p_control, "#999999", f"{false_alarms:.0%}"),
):
    right.hist(p.flatten(), bins=np.arange(0.5, 21) / 20, color=colour, alpha=0.75, label=name)
right.set(xlabel="p-value of a map (48 pairs, two maps each)", ylabel="maps")
for axes in (left, right):
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
figure

# %% [markdown]
# The **total** ranks pairs; it has no threshold of its own, and depends on the network and on the number of neurons. The
# **significance** has one: where nothing is shared, about 5 % of maps have a significant place, as the level says (3.5 % of 1,600,
# `benchmarks/significance.py`). Of 20 maps in which nothing is shared expect one. And it misses: not significant is not *nothing
# shared*. It also says "more than with references that do not drive the neuron", and never "this is the cause".
#
# ## When methods disagree
#
# The same pairs, through six methods. How alike are their maps, and which is right how often: for how many maps does the answer
# have more of the map than each other part (chance 0.25)?

# %%
names = ["recommended", "grad-cam-product", "neuron-grad-cam", "similarity-grad-cam", "cosine-grad-cam", "paper"]
stacked = torch.stack([trial.images for trial in trials])
pair_of_task, asked = (stacked[:, 0], stacked[:, 1]), [trial.neuron for trial in trials]
parts = torch.stack([trial.regions for trial in trials]).transpose(0, 1)  # side, pair, part, row, column
maps = {name: METHODS[name].maps(task.similarity, pair_of_task, asked) for name in names}


def first_part(name: str) -> torch.Tensor:
    """Which of the four parts has most of a map per pixel; 0 is the answer."""
    inside = torch.stack([(heats[:, None] * own).sum((2, 3)) for heats, own in zip(maps[name], parts, strict=True)])
    return (inside / parts.sum((3, 4))).argmax(2)


named = {name: first_part(name) for name in names}
right_share = {name: float((each == 0).double().mean()) for name, each in named.items()}
alike = np.array(
    [
        [np.mean([map_agreement(*sides).mean() for sides in zip(maps[a], maps[b], strict=True)]) for b in names]
        for a in names
    ]
)

figure = Figure(figsize=(8.8, 3.4), layout="constrained", dpi=100)
left, right = figure.subplots(1, 2, width_ratios=(1.3, 1))
left.imshow(alike, vmin=0, vmax=1, cmap="Greys")
for (row, column), value in np.ndenumerate(alike):
    left.text(
        column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color="white" if value > 0.6 else "black"
    )
left.set_xticks(range(6), [f"{name}" for name in names], rotation=40, ha="right", fontsize=8)
left.set_yticks(range(6), names, fontsize=8)
left.set_title("agreement of maps (rank correlation)", fontsize=9)
right.barh(range(6), [right_share[name] for name in names], color=["#0072B2"] + ["#bbbbbb"] * 5)
right.axvline(0.25, color="black", linestyle=":", linewidth=1)
right.set(yticks=[], ylim=(5.5, -0.5), xlim=(0, 1))
right.set_title("how often the answer is largest", fontsize=9)
right.spines[["top", "right"]].set_visible(False)
figure

# %%
agree = named["recommended"] == named["grad-cam-product"]
right_if_agreed = float((named["recommended"] == 0)[agree].double().mean())
right_if_not = {name: float((named[name] == 0)[~agree].double().mean()) for name in ("recommended", "grad-cam-product")}
print(f"recommended and grad-cam-product name the same part in {float(agree.double().mean()):.0%} of maps,")
print(f"and are right in {right_if_agreed:.0%} of those; where they differ, ", end="")
print(", ".join(f"{name} is right in {share:.0%}" for name, share in right_if_not.items()))

# %% [markdown]
# **Agreement is not evidence.** Methods agree if they look at the same thing, right or wrong. It helps where two methods that
# look at different things name the same part. To decide for your own network and images, put the question to pairs whose answer
# you know: `captum-shared benchmark grid --images FOLDER --model ...` makes such pairs of your own photographs.
#
# ## Sanity checks
#
# A map that is about the neuron, the network and the reference has to change if one of them does. Rank correlation of maps
# before and after: 1 means that the method does not look at it.

# %%
few = tuple(side[:12] for side in pair_of_task)
checked = {
    name: [
        float(
            network_agreement(METHODS[name].maps, task.similarity, inputs=few, target=asked[:12], shares=[1.0]).mean()
        ),
        float(readout_agreement(METHODS[name].maps, task.similarity, inputs=few, target=asked[:12]).mean()),
        float(reference_agreement(METHODS[name].maps, task.similarity, inputs=few, target=asked[:12]).mean()),
    ]
    for name in [*names, "edge-energy"]
}
print(f"{'same map with':<22}{'random network':>16}{'other readout':>16}{'other reference':>16}")
for name, values in checked.items():
    print(f"{name:<22}" + "".join(f"{value:16.2f}" for value in values))

# %% [markdown]
# Passing is necessary and proves little; failing is final. A method that does not change with the reference cannot say what is
# shared, however good it looks.
#
# ## What never to conclude
#
# - *"The map shows what the neuron sees"*, for a neuron that is not predicted above its null interval.
# - *"The two images share this"*, from a method that sees one image at a time, or from a total alone.
# - *"Nothing is shared"*, from a map that is faint or not significant. Look at the power above.
# - *"It must be right, as three methods agree."* Look at what the three look at.
# - *"It is the cause."* A readout is a correlation; the map shows what the network's features say, and for photographs neither
#   you nor we know the truth. Change the image and record again.
# - Anything from one pair that was chosen because it looks good: fix the pairs before looking.
#
# ## What this tutorial claims

# %%
# the test keeps the neurons that are driven and leaves out those that are not, though both are as reliable
assert explained[driven].mean() > 0.9
assert explained[~driven].mean() < 0.2
assert abs(steady[driven].mean() - steady[~driven].mean()) < 0.05
assert np.mean(np.array(fitted)[~driven]) > 0.1 > abs(heldout[~driven].mean())  # the fit's own images flatter

# maps of neurons that are not predicted share about as much, but do not come out again from other images
assert stable[driven].mean() > stable[~driven].mean() + 0.15

# the layer that predicts best explains better than the one that predicts worst
worst = min(choice.means, key=choice.means.__getitem__)
assert truth[choice.layer] > truth[worst] + 0.1

# calibrated: few false alarms, and more power than that
assert false_alarms < 0.12
assert power > 3 * max(false_alarms, 0.05)
assert told_apart > 0.75

# the two methods that agree most are not the two that are most often right
order = np.argsort(-(alike - np.eye(6)).max(1))[:2]
assert right_share["recommended"] == max(right_share.values()) > 0.7
assert {names[index] for index in order} != set(sorted(right_share, key=right_share.__getitem__)[-2:])
assert right_if_agreed > right_share["recommended"]

# what does not look at the reference, or at the neuron, is caught
assert checked["neuron-grad-cam"][2] > 0.999 > 0.9 > checked["recommended"][2]
assert checked["cosine-grad-cam"][1] > 0.999 > 0.9 > checked["recommended"][1]
