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
# # What do two images share, for this neuron?
#
# A neuron prefers one category of images, say creatures, and yet some artefact drives it strongly. *Parallel
# backpropagation* (Lappe et al., NeurIPS 2024) explains the artefact by a creature: it finds the creature that resembles the
# artefact most **as this neuron sees it**, and shows on both images the features that the two share and that drive the neuron.
# The recommended method of this package goes further: it compares the two images place by place, and says how much they share.
#
# This tutorial goes through it step by step in a world of drawn images that comes with the package, where the answer is
# known: every image knows which pixels belong to which part, and every neuron which parts drive it. Nothing is downloaded.

# %%
# %matplotlib inline
# %config InlineBackend.figure_formats = ["jpeg"]
# %config InlineBackend.print_figure_kwargs = {"bbox_inches": "tight", "dpi": 130, "pil_kwargs": {"quality": 85}}
from dataclasses import replace

import numpy as np
import torch
from captum.attr import LayerGradCam
from sklearn.linear_model import RidgeCV
from torch import nn

from captum_shared import (
    LatentFeatures,
    LinearReadout,
    NeuronSimilarity,
    ParallelSharedAttribution,
    ReferenceBank,
    SharedCorrespondence,
    explain,
    fit_readout,
)
from captum_shared.attr import components
from captum_shared.encoders import embedded_network, local_scatter
from captum_shared.evaluation import positive_mass
from captum_shared.figures import components_figure, explanation_panels, pair_figure, shared_totals
from captum_shared.neurons import correlation
from captum_shared.synthetic import category_selective_neurons, draw_stimuli, record

# %% [markdown]
# ## Images and a recording
#
# 400 creatures and 200 artefacts, and the responses of six neurons: the number of spikes is random, its mean depends on the
# parts that are visible. Artefacts may have parts of creatures: a chair has limbs, an aeroplane has wings.

# %%
creatures = draw_stimuli("creature", 400, seed=1)
artefacts = draw_stimuli("artefact", 200, seed=2)
neurons = category_selective_neurons(6)
responses = record(neurons, [*creatures, *artefacts], seed=3).mean(0)  # mean of both recording phases
creature_responses, artefact_responses = responses[:400], responses[400:]

for k, neuron in enumerate(neurons):
    means = creature_responses[:, k].mean(), artefact_responses[:, k].mean()
    drivers = " and ".join(neuron.tuning)
    print(f"{neuron.name}: {means[0]:5.1f} spikes/s for creatures, {means[1]:5.1f} for artefacts; driven by {drivers}")

# %% [markdown]
# ## The encoding model
#
# Each neuron is read out linearly from the features of a network, here a small one that names parts, cut at its last
# convolution and averaged over positions. The readout is fitted on creatures only. Does it hold for artefacts, which it never
# saw? If it did not, its explanation of them would be worth nothing.
#
# With `center=True` the readout knows the mean of the features: after a ReLU none is negative, so that any two images would
# look alike without it. `with_examples` also tells it what images look like to all its neurons, and how places differ within
# an image (`local_scatter`, gathered in the same pass): the recommended method reads places by that. Predictions stay the same.

# %%
features = LatentFeatures(embedded_network(), "features", pool="average")
images = torch.stack([stimulus.image for stimulus in creatures])
objects = torch.stack([stimulus.image for stimulus in artefacts])

with local_scatter(features) as scatter:
    latent = features(images)
ridge = RidgeCV(np.logspace(-4, 5, 28), alpha_per_target=True)
readout = fit_readout(latent, creature_responses, center=True, estimator=ridge)
readout = readout.with_examples(latent, scatter.mean).with_origin(features.origin)  # no other encoder will take it
ooc_correlation = correlation(readout(features(objects)), artefact_responses)
print("correlation with the responses to artefacts:", np.round(ooc_correlation, 2))

# %% [markdown]
# With photographs of your own and the weights of ImageNet only the images and the network change:
#
# ```python
# features = LatentFeatures.from_torchvision("resnet50", weights="DEFAULT", layer="layer4")
# images = load_images(image_folder("bodies")[0], features.preprocess)    # captum_shared.images
# objects = load_images(image_folder("objects")[0], features.preprocess)
# ```
#
# ## The pair
#
# The artefact that drives the fifth neuron most, and its reference: the creature with the highest neuron-specific similarity
# among those that drive the neuron themselves.

# %%
target = 4
similarity = NeuronSimilarity(features, readout)
bank = ReferenceBank(similarity, images, responses=torch.from_numpy(creature_responses))
strongest = int(artefact_responses[:, target].argmax())
match = bank.search(objects[strongest : strongest + 1], target=target)
artefact, creature = artefacts[strongest], creatures[int(match.indices)]
pair = artefact.image[None], creature.image[None]

print(f"parts of the artefact: {', '.join(artefact.masks)}")
print(f"parts of the creature: {', '.join(creature.masks)}")
print(f"neuron-specific similarity: {float(match.similarities):.3f}")

# %% [markdown]
# ## The maps
#
# One call makes the maps of any number of methods (`captum-shared methods` lists them): the recommended one, the paper's, and
# what a user of Captum might take. The outline surrounds the parts that drive the neuron and are in both images.

# %%
names = ["recommended", "paper", "ours-ig", "neuron-grad-cam"]
explanations = explain(similarity, pair, target, methods=names)

shared_parts = [part for part in neurons[target].tuning if part in artefact.masks and part in creature.masks]
regions = [torch.stack([stimulus.masks[part] for part in shared_parts]).any(0) for stimulus in (artefact, creature)]
panels = [
    replace(panel, region=region)
    for panel, region in zip(
        explanation_panels(explanations, torch.cat(pair), ("strongest artefact", "its reference")), regions, strict=True
    )
]
title = f"{neurons[target].name}, shared: {' and '.join(shared_parts)}"
pair_figure(*panels, title=title, shared=shared_totals(explanations))

# %%
masses = {
    name: float(positive_mass(torch.cat(each.heatmaps), torch.stack(regions)).mean())
    for name, each in explanations.items()
}
area = float(torch.stack(regions).float().mean())
print(f"{area:.2f}  area of the shared parts, which is what chance would give")
for name, mass in masses.items():
    print(f"{mass:.2f}  {explanations[name].method.title}")

# %% [markdown]
# ## How the recommended map is made
#
# The two images are compared position by position at the layer: how much of the neuron's drive is there, in both, and do the
# two places agree in their features and in what the whole population of neurons makes of them? The answer is a matrix,
# position by position, the *correspondence*. Summed over the positions of the other image it is a map; its total, between 0
# and 1, is what the pair shares. The same matrix tells which part of the one image matches which part of the other.

# %%
correspondence = SharedCorrespondence(similarity).correspondence(pair, target)
shared = float(explanations["recommended"].shared)
print(f"{tuple(correspondence.shape[1:])} positions, sum {float(correspondence.sum()):.3f}, shared {shared:.3f} of 1")
maps = explanations["recommended"].attributions
components_figure((artefact.image, creature.image), components(similarity, pair, target), maps=maps)

# %% [markdown]
# ## How the paper's map is made
#
# The similarity is a sum over features. Its terms are the *shared weights* h: large where a feature is strong in both images
# and used by the neuron. Held constant, h is sent back through the network to the pixels of both images: map(x) = J(x)ᵀ h, one
# backward pass. With Integrated Gradients the Jacobian is averaged along a path from a grey image, and the maps then sum to
# the change of h·f(x) along it.

# %%
h = similarity.shared_weights(*pair, target=target)
integrated, delta = ParallelSharedAttribution(similarity, "integrated_gradients").attribute(
    pair, target=target, baselines=0.5, n_steps=100, return_convergence_delta=True
)
print(f"sum of the shared weights: {float(h.sum()):.3f}, of the ten largest: {float(h.topk(10).values.sum()):.3f}")

# %% [markdown]
# One pair shows how the method works and proves nothing about how well: `captum-shared demo` goes through all six neurons.
#
# ## Why not simply Captum on the encoder, called twice?
#
# Because Captum's layer methods hook a module and keep what its last call saw. On an encoder that is called for both images,
# `LayerGradCam` returns a map of the reference whatever one asks for, without a word. `NeuronSimilarity` runs two *twins* over
# the same weights, so each image has modules of its own.


# %%
class CalledTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = LatentFeatures(embedded_network(), "features")

    def forward(self, x: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
        return nn.functional.cosine_similarity(self.encoder(x), self.encoder(r))[:, None]


naive = CalledTwice()
from_naive = LayerGradCam(naive, naive.encoder.cut).attribute(pair, target=0).detach()

cosine = NeuronSimilarity(features, LinearReadout.uniform(readout.n_features))
of_image, of_reference = (
    LayerGradCam(cosine, twin.cut).attribute(pair, target=0).detach()
    for twin in (cosine.image_features, cosine.reference_features)
)
for name, true_map in (("image", of_image), ("reference", of_reference)):
    agreement = torch.corrcoef(torch.stack([from_naive.flatten(), true_map.flatten()]))[0, 1]
    print(f"correlation of the map of the encoder called twice with the true map of the {name}: {float(agreement):.3f}")

# %% [markdown]
# ## What this tutorial claims

# %%
# the shared weights make up the similarity
assert torch.isclose(h.sum(), match.similarities.float().squeeze(), atol=1e-5)

# fitted on creatures, the readouts hold for artefacts
assert (ooc_correlation > 0.3).all()

# the maps sum to the change of h·f along the path, which is what the delta measures
changes = [h * (features(image) - features(torch.full_like(image, 0.5))) for image in pair]
total = sum(float(attribution.sum()) for attribution in integrated)
assert abs(total - sum(float(change.sum()) for change in changes) - float(delta)) < 1e-4
assert abs(float(delta)) < 0.01 * sum(float(change.abs().sum()) for change in changes)

# every method finds the shared parts better than chance, and the recommended one far better than all others
assert all(mass > area for mass in masses.values())
assert masses["recommended"] > 1.5 * max(mass for name, mass in masses.items() if name != "recommended")

# the map's total is that of the correspondence
assert abs(float(correspondence.sum()) - shared) < 1e-5

# Captum's Grad-CAM of an encoder that is called twice is the reference's, whichever image one means
assert torch.allclose(from_naive, of_reference, atol=1e-6)
assert not torch.allclose(from_naive, of_image, atol=1e-6)
