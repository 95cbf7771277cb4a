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
# # Which objects look like a body to macaque inferotemporal cortex?
#
# 92 photographs were shown to monkeys while 674 neurons of inferotemporal (IT) cortex were recorded (Kiani et al. 2007;
# Kriegeskorte et al. 2008). The responses of the single neurons are not public; how similar the *population* responds to any
# two of the images is. That is enough to get at its **response modes**, and to ask of a mode what one would ask of a neuron:
# which objects drive it, which bodies do they resemble, and where?
#
# Read the last section before you believe any of it: a response mode is not a neuron.

# %%
# %matplotlib inline
# %config InlineBackend.figure_formats = ["jpeg"]
# %config InlineBackend.print_figure_kwargs = {"bbox_inches": "tight", "dpi": 130, "pil_kwargs": {"quality": 85}}
import os
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage

from captum_shared import (
    LatentFeatures,
    LayerFeatures,
    NeuronSimilarity,
    ReferenceBank,
    explain,
    fit_readout,
    heldout_correlation,
    heldout_null_interval,
    null_interval,
    ooc_correlation,
    select_layer,
)
from captum_shared.encoders import load_torchvision, local_scatter
from captum_shared.figures import explanation_panels, pair_figure, shared_totals
from captum_shared.images import load_image, to_display
from captum_shared.neurons import correlation, cross_validated_prediction
from captum_shared.recordings import kriegeskorte92

# %% [markdown]
# ## The recording
#
# The published file and the weights of SqueezeNet are downloaded once, unless `CAPTUM_SHARED_DATA` names a folder that has
# them. What comes back is an ordinary `Recording`: here with one phase, 92 images of three categories and six channels.

# %%
data = os.environ.get("CAPTUM_SHARED_DATA")
recording = kriegeskorte92(Path(data, "kriegeskorte92.mat") if data else None)
weights = Path(data, "squeezenet1_0_imagenet.safetensors") if data else "DEFAULT"

responses = recording.mean
body, face, thing = (recording.in_category(name) for name in ("body", "face", "object"))
print(f"{'mean response to':<17} {'bodies':>7} {'faces':>7} {'objects':>8}")
for name, own in zip(recording.neuron_names, responses.T, strict=True):
    print(f"{name:<17} {own[body].mean():7.2f} {own[face].mean():7.2f} {own[thing].mean():8.2f}")

# %% [markdown]
# A *mode* is a principal component of the population's responses: the weighted sum of the 674 neurons that differs most
# between images, the one that differs most of those uncorrelated with the first, and so on. Nobody told the first two about
# categories, and yet: the first is about faces, the second about bodies, animals above all. The *preferences* are told:
# how similar, on average, the population's response to an image is to its responses to (other) bodies, or faces.

# %%
figure = Figure(figsize=(8, 6), layout="constrained", dpi=90)
axes = figure.subplots()
for path, (x, y) in zip(recording.paths, responses[:, :2], strict=True):
    picture = np.asarray(load_image(path).resize((58, 58)))
    cut_out = np.dstack([picture, np.where(np.abs(picture.astype(int) - 128).max(2) > 6, 255, 0).astype(np.uint8)])
    axes.add_artist(AnnotationBbox(OffsetImage(cut_out, zoom=0.55), (x, y), frameon=False))
axes.set(
    xlabel="mode 1", ylabel="mode 2", xlim=(-0.5, 0.7), ylim=(-0.45, 0.52), title="92 images, as macaque IT has them"
)
figure

# %% [markdown]
# ## The encoding model
#
# Do the features of a network predict the modes of images that they were not fitted to? All layers are computed in one pass,
# and judged by the correlation of predicted with true responses within the folds of a ten-fold cross-validation. Within the
# *null interval* lie 95 % of the correlations of responses that are dealt anew among the images, so that nothing can predict
# them.

# %%
network, preprocess = load_torchvision("squeezenet1_0", weights)
images = recording.load_images(preprocess)
layers = ["features.3", "features.5", "features.7", "features.9", "features.12"]
latent = LayerFeatures(network, layers).compute(images)
choice = select_layer(latent, responses)

print("held-out correlation of", ", ".join(recording.neuron_names))
for layer, correlations in choice.correlations.items():
    chosen = "  <- chosen" if layer == choice.layer else ""
    print(f"{layer:<12}", *(f"{value:5.2f}" for value in correlations), chosen)
low, high = heldout_null_interval(latent[choice.layer], responses)
print(f"null interval {low.mean():.2f} to {high.mean():.2f}")

# %% [markdown]
# Part of that is easy: who can tell faces from objects predicts most of the first mode. Among objects alone that is of no
# help. The paper goes further and fits on bodies only, so that what holds for objects cannot have been learnt from objects.
# Its recordings have hundreds of bodies; this is what 24 of them are good for:

# %%
features = latent[choice.layer]
held_out = cross_validated_prediction(features, responses)
from_bodies = ooc_correlation(fit_readout(features[body], responses[body]), features[thing], responses[thing])
among_objects = correlation(held_out[thing], responses[thing])
object_interval = null_interval(int(thing.sum()))

print(f"{'correlation among the 44 objects':<34}", *(f"{name:>15}" for name in recording.neuron_names))
print(f"{'fitted on the 24 bodies':<34}", *(f"{value:15.2f}" for value in from_bodies))
print(f"{'fitted on all, tenth held out':<34}", *(f"{value:15.2f}" for value in among_objects))
print(f"null interval {object_interval[0]:.2f} to {object_interval[1]:.2f}")

# %% [markdown]
# For the second mode, the one that prefers bodies, 24 bodies teach nothing about objects, and an explanation of objects by
# that readout would be worth nothing. So we depart from the paper: the readout below is fitted on all categories, but never
# on the objects that it is to explain. It is also centred, as features after a ReLU are all positive, and any two images
# would be similar.
#
# ## Objects that drive the body mode
#
# The six objects that drive mode 2 most are left out of the fit. For each, the reference is the body image that resembles it
# most **as this mode sees it**, out of the quarter of body images that drive the mode most.

# %%
target = recording.neuron_names.index("mode 2")
strongest = np.flatnonzero(thing)[np.argsort(-responses[thing, target])[:6]]
kept = np.setdiff1d(np.arange(recording.n_images), strongest)

encoder = LatentFeatures(network, choice.layer)
with local_scatter(encoder) as scatter:
    shown = encoder(images[kept])
readout = fit_readout(shown, responses[kept], center=True, neuron_names=recording.neuron_names)
readout = readout.with_examples(shown, scatter.mean).with_origin(encoder.origin)
similarity = NeuronSimilarity(encoder, readout)
bank = ReferenceBank(similarity, images[body], responses=responses[body])
match = bank.search(images[strongest], target=target)
references = np.flatnonzero(body)[match.indices[:, 0].numpy()]
predicted = readout(features[strongest])[:, target].numpy()

figure = Figure(figsize=(9, 3.6), layout="constrained", dpi=90)
grid = figure.subplots(2, 6)
for column, pair in enumerate(zip(strongest, references, strict=True)):
    told = f"response {responses[pair[0], target]:.2f}\npredicted {predicted[column]:.2f}"
    grid[0, column].set_title(told, fontsize=8)
    grid[1, column].set_title(f"similarity {match.similarities[column, 0]:.2f}", fontsize=8)
    for axes, shown in zip(grid[:, column], pair, strict=True):
        axes.imshow(load_image(recording.paths[shown]))
        axes.set_axis_off()
figure.suptitle("mode 2: the strongest objects, and the bodies that they resemble most for it", fontsize=10)
figure

# %% [markdown]
# All six are predicted above the mean of the objects, but less than they deserve: much of why the population responds to them
# as if to bodies is not in these features, and what is not there cannot be in the maps. One pair stands out by its similarity.
#
# ## The maps
#
# What the most similar pair shares, and below it, **on the same scale**, what the least similar pair does: by the recommended
# method, which compares places and says how much of 1 a pair shares, and by the paper's, with gradients and with Integrated
# Gradients.

# %%
methods = ["recommended", "paper", "ours-ig"]
most, least = int(match.similarities.argmax()), int(match.similarities.abs().argmin())
explanations = {
    pair: explain(similarity, (images[strongest[[pair]]], images[references[[pair]]]), target, methods=methods)
    for pair in (most, least)
}
scale = {
    each.method.title: max(float(side.max()) for side in each.heatmaps)
    for each in explanations[most].values()
    if each.shared is None
}


def figure_of(pair: int) -> Figure:
    """An object above its reference."""
    pictures = to_display(images[[strongest[pair], references[pair]]], preprocess)
    panels = explanation_panels(explanations[pair], pictures, ("object", "its reference"))
    title = f"mode 2, similarity {match.similarities[pair, 0]:.2f}"
    return pair_figure(*panels, title=title, shared=shared_totals(explanations[pair]), vmax=scale)


figure_of(most)

# %%
figure_of(least)

# %% [markdown]
# On the office chair the recommended map lies on a foot, on the armadillo on its feet; the paper's lie on more of both. The
# banana, which drives the mode most of all objects, shares nothing with any body as far as this network can
# tell, and its maps are as faint as they should be: a map that is drawn is not yet a feature that was found.
#
# ## What a response mode is, and what it is not
#
# - **It is a weighted sum of recorded neurons**, the same weights for all images. Responses are standardised across neurons
#   image by image before, so that how strongly the population responds as a whole plays no part.
# - **It is not a neuron.** No single cell need respond like it, and its values are no spike rates. Neurons for bodies in one
#   patch, as in the paper, may hide behind several modes, and two kinds of neurons behind one.
# - **Its sign is arbitrary.** Turned round, mode 2 would prefer houses and traffic signs, and other images would count as its
#   drivers. Only the order of the first modes is meaningful; modes of similar variance can mix.
# - **It is defined by all 92 images**, those held out in the cross-validation among them. The readout never saw these, the mode
#   did. The body preference is more circular yet: it is made of the category that one would like to find in it.
# - **Its reliability is unknown**: no repetition is published, so nobody can tell what of the missing correlation is noise. The
#   null interval says what chance does, not how good a model could be. The best of five layers is a little too good as well.
# - **It rests on 92 cut-outs on grey**, of which 24 are bodies. One pair that pleases the eye is an example, not evidence.
#
# ## What this tutorial claims

# %%
# every mode and preference is predicted on images that the readout was not fitted to, far above chance
assert (choice.correlations[choice.layer] > 0.6).all()
assert np.array_equal(choice.correlations[choice.layer], heldout_correlation(features, responses))

# the second mode prefers bodies; what bodies alone teach about it does not hold for objects, what all images teach does
assert responses[body, target].mean() > max(responses[face, target].mean(), responses[thing, target].mean()) + 0.2
assert from_bodies[target] < object_interval[1] < among_objects[target]

# readouts that never saw these objects predict them above the mean of all objects
assert (predicted > responses[thing, target].mean()).all()

# a pair that shares little has fainter maps
for name in methods:
    strength = [sum(float(side.sum()) for side in explanations[pair][name].heatmaps) for pair in (most, least)]
    assert strength[1] < 0.5 * strength[0], (name, strength)
