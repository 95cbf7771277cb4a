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
# # In a Captum workflow: what drops in, and what to watch
#
# You know [Captum](https://captum.ai) and its tools: `NoiseTunnel`, `infidelity`, layer methods,
# ablation, the visualizer. All of them work with this package as they are, since `NeuronSimilarity` is an ordinary module of
# two inputs, and each of our methods an ordinary `Attribution`. This tutorial goes through them, and shows two places where
# habits go wrong without a word: an encoder that is called twice, and a metric that is taken against the wrong function.
#
# The images are drawn, so that it is known which pixels are right. Nothing is downloaded.

# %%
# %matplotlib inline
# %config InlineBackend.figure_formats = ["jpeg"]
# %config InlineBackend.print_figure_kwargs = {"bbox_inches": "tight", "dpi": 100, "pil_kwargs": {"quality": 85}}
import warnings
from functools import partial

import torch
from captum.attr import (
    DeepLift,
    FeatureAblation,
    GradientAttribution,
    GuidedBackprop,
    LayerGradCam,
    LayerIntegratedGradients,
    NoiseTunnel,
    Occlusion,
    Saliency,
)
from captum.attr import visualization as viz
from captum.metrics import infidelity, sensitivity_max
from matplotlib.figure import Figure
from torch import nn

from captum_shared import (
    LatentFeatures,
    LayerSharedAttribution,
    NeuronSimilarity,
    ParallelSharedAttribution,
    PixelSharedCorrespondence,
    ReferenceBank,
    fit_readout,
)
from captum_shared.attr import heatmap
from captum_shared.encoders import embedded_network, local_scatter
from captum_shared.evaluation import positive_mass
from captum_shared.figures import Panel, absolute_scale, density, draw_overlay, pair_figure
from captum_shared.synthetic import category_selective_neurons, draw_stimuli, record

warnings.filterwarnings("ignore", module=r"captum\.")  # which tells of every hook that it sets

# %% [markdown]
# ## A similarity, and twelve pairs
#
# Twelve neurons that prefer creatures, read out from a small network, and for each neuron the artefact that drives it most
# with the creature that resembles it most for this neuron ([the first tutorial](01_two_images.ipynb) takes its time for
# this). As in all of Captum, a batch has one `target` for all or one for each: here the pair of every neuron is one row.

# %%
creatures = draw_stimuli("creature", 240, seed=1)
artefacts = draw_stimuli("artefact", 60, seed=2)
neurons = category_selective_neurons(12)
responses = torch.from_numpy(record(neurons, [*creatures, *artefacts], seed=3).mean(0))
of_creatures, of_artefacts = responses.split([240, 60])
images, objects = (torch.stack([each.image for each in stimuli]) for stimuli in (creatures, artefacts))

features = LatentFeatures(embedded_network(), "features", pool="average")
with local_scatter(features) as scatter:
    latent = features(images)
readout = fit_readout(latent, of_creatures.numpy(), center=True, neuron_names=[each.name for each in neurons])
similarity = NeuronSimilarity(features, readout.with_examples(latent, scatter.mean).with_origin(features.origin))

target = list(range(12))
strongest = of_artefacts.argmax(0)
match = ReferenceBank(similarity, images, responses=of_creatures).search(objects[strongest], target=target)
chosen = match.indices[:, 0]
pairs = objects[strongest], images[chosen]
print("similarities:", ", ".join(f"{value:.2f}" for value in similarity(*pairs).diagonal()))

# %% [markdown]
# With photographs and a network of torchvision only the encoder and the images change; everything below stays as it is:
#
# ```python
# features = LatentFeatures.from_torchvision("resnet50", weights="DEFAULT", layer="layer4")
# images = load_images(image_folder("bodies")[0], features.preprocess)    # captum_shared.images
# objects = load_images(image_folder("objects")[0], features.preprocess)
# ```
#
# We look closely at one pair, that of a neuron driven by torsos, tails and wings. Both images have a torso and a wing; the creature
# alone has a tail, so that this drives the neuron but is not shared. `shared` are the pixels of the parts that drive each neuron
# and are in both of its images: the truth that maps are held against.

# %%
k = 6
pair = pairs[0][[k]], pairs[1][[k]]
sides = [[artefacts[i] for i in strongest], [creatures[i] for i in chosen]]
names = [
    [part for part in neuron.tuning if part in first.masks and part in second.masks]
    for neuron, first, second in zip(neurons, *sides, strict=True)
]
shared = [
    torch.stack(
        [torch.stack([each.masks[part] for part in parts]).any(0) for each, parts in zip(side, names, strict=True)]
    )
    for side in sides
]


def mass(maps, kind, regions):
    """The share of each pair's maps that lies on the shared parts."""
    heat = [heatmap(each, (112, 112), kind=kind) for each in maps]
    return sum(positive_mass(one, region) for one, region in zip(heat, regions, strict=True)) / 2


area = sum(float(side.float().mean()) for side in shared) / 2
print(f"{readout.neuron_names[k]} is driven by {', '.join(neurons[k].tuning)}; shared: {', '.join(names[k])}")
print(f"the shared parts cover {area:.2f} of the images, on average of all pairs")

# %% [markdown]
# ## An attribution like any other, drawn by Captum
#
# `attribute` takes the pair as its inputs and gives a map for each, with the shape of the input. A `target` may also be the
# name of a neuron. Captum's visualizer draws the maps.

# %%
recommended = PixelSharedCorrespondence(similarity)
maps = recommended.attribute(pair, target="neuron 6")

figure = Figure(figsize=(8, 2.3), layout="constrained")
all_axes = iter(figure.subplots(1, 4))
for image, attribution, name in zip(pair, maps, ("artefact", "creature"), strict=True):
    picture, heat = (each[0].permute(1, 2, 0).numpy() for each in (image, attribution))
    for method, options in (("original_image", {}), ("blended_heat_map", {"cmap": "inferno", "alpha_overlay": 0.7})):
        axes = figure, next(all_axes)
        viz.visualize_image_attr(heat, picture, method, "positive", axes, title=name, use_pyplot=False, **options)
figure

# %% [markdown]
# Two things to know. Captum's visualizer scales **each map to its own maximum**, so that a pair that shares next to nothing looks
# as bright as one that shares much; `captum_shared.figures` draws both maps of a pair on one scale. And the maps of this method
# sum to how much the pair shares, between 0 and 1:

# %%
paper = ParallelSharedAttribution(similarity)
of_paper, of_recommended = paper.attribute(pairs, target=target), recommended.attribute(pairs, target=target)
mass_of_paper, mass_of_recommended = mass(of_paper, "gradient", shared), mass(of_recommended, "layer", shared)

print(f"neuron 6's pair shares {float(maps[0].sum()):.3f} of 1")
print(f"mass on the shared parts, mean of 12 pairs: {float(mass_of_recommended.mean()):.2f} recommended,")
print(f"{float(mass_of_paper.mean()):.2f} paper, {area:.2f} by chance")

# %% [markdown]
# ## NoiseTunnel
#
# `NoiseTunnel(method)` averages the maps of noisy copies of the pair. What that buys can be measured: take two copies of a pair
# that differ by noise nobody sees, and ask how alike their maps are.


# %%
def likeness(attribute):
    """Correlation of the maps of two copies with different noise, mean of all pairs."""
    torch.manual_seed(0)
    copies = [tuple(each + 0.02 * torch.randn_like(each) for each in pairs) for _ in range(2)]
    first, second = (torch.cat(attribute(copy, target=target)).flatten(1) for copy in copies)
    centred = (each - each.mean(1, keepdim=True) for each in (first, second))
    return float(nn.functional.cosine_similarity(*centred).mean())


tunnel = partial(NoiseTunnel(paper).attribute, nt_samples=8, nt_samples_batch_size=4, stdevs=(0.02, 0.02))
smooth = tunnel(pairs, target=target)
alike, alike_smooth, alike_recommended = map(likeness, (paper.attribute, tunnel, recommended.attribute))
print(
    f"two noisy copies of a pair: maps of the paper's method correlate by {alike:.2f}, smoothed by {alike_smooth:.2f};"
)
print(f"those of the recommended method by {alike_recommended:.2f} without smoothing")

# %%
regions = [each[k] for each in shared]
shown = {"plain": of_paper, "NoiseTunnel": smooth, "recommended": of_recommended}
kinds = {"plain": "gradient", "NoiseTunnel": "gradient", "recommended": "layer"}


def panels_of(shown, kinds):
    """Image and reference with the maps of some methods, for pair_figure."""
    for side, title in enumerate(("artefact", "creature")):
        heat = {name: heatmap(each[side], (112, 112), kind=kinds[name])[-1] for name, each in shown.items()}
        yield Panel(title, pair[side][0], heat, regions[side])


one_pair = {name: [side[[k]] for side in each] for name, each in shown.items()}
pair_figure(*panels_of(one_pair, kinds), shared={"recommended": float(maps[0].sum())})

# %% [markdown]
# Smoother is not righter:

# %%
mass_of_smooth = mass(smooth, "gradient", shared)
print(f"mass on the shared parts: {float(mass_of_paper.mean()):.2f} plain, {float(mass_of_smooth.mean()):.2f} smoothed")

# %% [markdown]
# What is averaged away is the noise of gradients. What remains answers the same question as before, about the two images as wholes.
#
# ## Metrics: against which function?
#
# `infidelity` asks how well a map predicts what happens to *a function* if the input is perturbed. It is tempting to give it the
# similarity. But **the paper's maps are not the gradient of the similarity**: they are that of x ↦ h·f(x), the *projection* on the
# shared weights h, which are held constant. That function is `method.projection`; h goes along as `additional_forward_args`.
#
# Infidelity has the unit of its function, squared. So that the two can be compared, we divide by the infidelity of a map of zeros,
# which predicts that nothing changes: 0 is perfect, 1 no better than no map at all.

# %%
h = similarity.shared_weights(*pairs, target=target)
against = {
    "projection": (paper.projection, {"additional_forward_args": h}),
    "similarity": (similarity, {"target": target}),
}


def perturbed(inputs):
    noise = tuple(0.002 * torch.randn_like(each) for each in inputs)
    return noise, tuple(each - moved for each, moved in zip(inputs, noise, strict=True))


def unexplained(maps, function):
    """Infidelity of each pair's maps, as a share of that of maps of zeros."""
    forward, arguments = against[function]
    infidelities = []
    for each in (maps, tuple(torch.zeros_like(side) for side in maps)):
        torch.manual_seed(0)
        infidelities.append(infidelity(forward, perturbed, pairs, each, n_perturb_samples=6, **arguments))
    return infidelities[0] / infidelities[1]


gradient = Saliency(similarity).attribute(pairs, target=target, abs=False)
candidates = {"the paper's maps": of_paper, "gradient of the similarity": gradient}
shares = {(name, function): unexplained(each, function) for name, each in candidates.items() for function in against}
print(f"{'unexplained, median of 12 pairs':<32}", *(f"{function:>12}" for function in against))
for name in candidates:
    print(f"{name:<32}", *(f"{float(shares[name, function].median()):12.2f}" for function in against))

# %%
figure = Figure(figsize=(6.5, 2.6), layout="constrained")
axes = figure.subplots()
rows = list(shares)[::-1]
for row, key in enumerate(rows):
    axes.plot(shares[key], [row] * 12, "o", alpha=0.5, color="#0072B2" if key[1] == "projection" else "#D55E00")
axes.axvline(1, color="black", linewidth=0.8, linestyle="--")
axes.set(xscale="log", xlabel="share left unexplained; 1: as good as no map", yticks=range(4), ylim=(-0.5, 3.5))
axes.set_yticklabels([f"{name},\nagainst the {function}" for name, function in rows], fontsize=8)
figure

# %% [markdown]
# Each function is explained by its own gradient; by that of the other hardly, or worse than by no map at all. Neither map is wrong:
# they answer different questions. (Perturbations are small here, since gradients promise nothing about large ones.)
#
# `sensitivity_max` takes `method.attribute` and tells by how much, relative to their size, the maps change at most if the pair
# is moved a little:

# %%
sensitivities = {}
for name, method in {"paper": paper, "recommended": recommended}.items():
    torch.manual_seed(0)
    sensitivities[name] = sensitivity_max(
        method.attribute, pairs, perturb_radius=0.01, n_perturb_samples=4, target=target
    )
    print(f"{name:<12} {float(sensitivities[name].median()):.2f}, median of 12 pairs")

# %% [markdown]
# ## Layers: name the twin that you mean
#
# Each image runs through a *twin* of its own, over the same weights: `similarity.image_features` and
# `similarity.reference_features`. Captum's layer methods hook the one that they are given. Of our own there is
# `LayerSharedAttribution`: the shared weights at any layer up to the cut, for both twins at once.

# %%
cams = [
    LayerGradCam(similarity, twin.cut).attribute(pairs, target=target)
    for twin in (similarity.image_features, similarity.reference_features)
]
at_layers = {
    layer: LayerSharedAttribution(similarity, layer).attribute(pair, target=k)
    for layer in ("features.2", "features.5", "features.11")
}
shown = {"LayerGradCam": [each[[k]] for each in cams], **{f"shared, {name}": each for name, each in at_layers.items()}}
pair_figure(
    *panels_of(shown, dict.fromkeys(shown, "layer")), title="Grad-CAM of each twin; shared weights at three layers"
)

# %% [markdown]
# ### What goes wrong without twins
#
# The obvious way to write a siamese network calls one encoder twice. A hook sees both calls and keeps the last. Nothing warns:


# %%
class CalledTwice(nn.Module):
    def __init__(self, encoder, readout):
        super().__init__()
        self.encoder, self.readout = encoder, readout

    def forward(self, images, references):
        first, second = (
            self.readout.weight[k] * (self.encoder(each) - self.readout.feature_mean) for each in (images, references)
        )
        return nn.functional.cosine_similarity(first, second)[:, None]


naive = CalledTwice(features, similarity.readout)
naive_cam = LayerGradCam(naive, naive.encoder.cut).attribute(pair, target=0).detach()
naive_integrated = LayerIntegratedGradients(naive, naive.encoder.cut).attribute(pair, target=0, n_steps=8)
own_integrated = LayerIntegratedGradients(similarity, similarity.image_features.cut).attribute(
    pair, target=k, n_steps=8
)

true_cams = [each[[k]].detach() for each in cams]
r_image, r_reference = (
    float(torch.corrcoef(torch.stack([naive_cam.flatten(), each.flatten()]))[0, 1]) for each in true_cams
)
print(f"the two give the same similarity: {float(naive(*pair)):.4f} and {float(similarity(*pair)[0, k]):.4f}")
print(
    f"correlation of its Grad-CAM with that of the image: {r_image:.3f}, with that of the reference: {r_reference:.3f}"
)
largest, largest_own = (float(each.abs().max()) for each in (naive_integrated, own_integrated))
print(f"largest value of LayerIntegratedGradients: {largest:.1g}, with twins {largest_own:.1g}")

# %%
shown = {"encoder called twice": [naive_cam, naive_cam], "twins": true_cams}
pair_figure(
    *panels_of(shown, dict.fromkeys(shown, "layer")), title="LayerGradCam: the upper left map is not of this image"
)

# %% [markdown]
# ## Any Captum method in the place of the gradient
#
# The paper's maps are J(x)ᵀ h, and the Jacobian J need not be that of plain gradients. `ParallelSharedAttribution` takes
# `"integrated_gradients"` or any attribution class of Captum that needs nothing but a module: `GuidedBackprop`, `DeepLift`, and
# with its own arguments in `jacobian_arguments` also `Occlusion`. Or a class of your own, such as this one, which averages the
# gradients of shifted copies:


# %%
class ShiftedGradients(GradientAttribution):
    """Mean gradient over shifts of the image by up to two pixels."""

    def attribute(self, inputs, target=None, additional_forward_args=None):
        total = [torch.zeros_like(each) for each in inputs]
        for shift in [(down, right) for down in (-2, 0, 2) for right in (-1, 1)]:
            moved = tuple(each.roll(shift, (2, 3)).requires_grad_() for each in inputs)
            gradients = self.gradient_func(self.forward_func, moved, target, additional_forward_args)
            back = (-shift[0], -shift[1])
            total = [summed + each.roll(back, (2, 3)) / 6 for summed, each in zip(total, gradients, strict=True)]
        return tuple(total)


windows = {"sliding_window_shapes": ((3, 14, 14),) * 2, "strides": ((3, 7, 7),) * 2, "perturbations_per_eval": 8}
jacobians = {
    "gradient": ("gradient", "gradient", {}),
    "integrated gradients": ("integrated_gradients", "contribution", {"n_steps": 16, "baselines": 0.5}),
    "GuidedBackprop": (GuidedBackprop, "gradient", {}),
    "DeepLift": (DeepLift, "contribution", {"baselines": 0.5}),
    "Occlusion": (Occlusion, "contribution", {"baselines": (0.5, 0.5), "jacobian_arguments": windows}),
    "a class of one's own": (ShiftedGradients, "gradient", {}),
}
kinds = {name: kind for name, (_, kind, _) in jacobians.items()}
shown = {
    name: ParallelSharedAttribution(similarity, jacobian).attribute(pair, target=k, **arguments)
    for name, (jacobian, _, arguments) in jacobians.items()
}
pair_figure(*panels_of(shown, kinds), title="J(x)ᵀh by six kinds of J")

# %%
masses = {name: float(mass(each, kinds[name], [side[[k]] for side in shared])) for name, each in shown.items()}
own_area = sum(float(side.float().mean()) for side in regions) / 2
for name, value in {**masses, "by chance": own_area}.items():
    print(f"{value:.2f}  {name}")

# %% [markdown]
# All of them attribute one and the same function, so that none of them knows more than it does: h is a property of whole images.
#
# ## Ablation: what does the similarity lose?
#
# `FeatureAblation` and `Occlusion` need no gradients and no layers; they run the similarity again and again. With the parts of the
# drawn images as `feature_mask` the question is the plainest of all: which part, painted over with grey, lowers the similarity?
# (The numbers in the two masks must differ: Captum takes the same number in two inputs for one feature.)

# %%
masks = torch.zeros(2, 12, 1, 112, 112, dtype=torch.long)
masks[1] = 10
parts = [(side, row, part) for side in (0, 1) for row in range(12) for part in sides[side][row].masks]
for side, row, part in parts:
    masks[side, row, 0, sides[side][row].masks[part]] = 10 * side + 1 + list(sides[side][row].masks).index(part)
by_pixel = FeatureAblation(similarity).attribute(
    pairs, target=target, baselines=(0.5, 0.5), feature_mask=(masks[0], masks[1])
)

lost = {}  # by whether the part drives the neuron, and whether it is in both images
for side, row, part in parts:
    kind = part in neurons[row].tuning, part in sides[1 - side][row].masks
    lost.setdefault(kind, []).append(float(by_pixel[side][row, 0][sides[side][row].masks[part]][0]))
occluded = Occlusion(similarity).attribute(pair, target=k, baselines=(0.5, 0.5), **windows)

# %%
kinds = {
    "drives the neuron, in both": (True, True),
    "drives it, in this image only": (True, False),
    "does not drive it, in both": (False, True),
    "neither": (False, False),
}
for name, kind in kinds.items():
    print(f"{sum(lost[kind]) / len(lost[kind]):5.2f} lost on average, of {len(lost[kind])} parts: {name}")

figure = Figure(figsize=(9, 2.6), layout="constrained")
axes, *pictures = figure.subplots(1, 3, width_ratios=[1.5, 1, 1])
for row, kind in enumerate(kinds.values()):
    axes.plot(lost[kind], [row] * len(lost[kind]), "o", color="#0072B2", alpha=0.4, markeredgewidth=0)
    axes.plot(sum(lost[kind]) / len(lost[kind]), row, "|", color="black", markersize=22, markeredgewidth=2)
axes.set_yticks(range(4), kinds)
axes.set_ylim(-0.5, 3.5)
axes.axvline(0, color="black", linewidth=0.8)
axes.invert_yaxis()
axes.set_xlabel("similarity lost without the part; bar: mean")
axes.set_title("FeatureAblation, all parts of 12 pairs", fontsize=10)
for drawn, picture, each, title in zip(pictures, pair, occluded, ("artefact", "creature"), strict=True):
    heat, original = (array[0].permute(1, 2, 0).numpy() for array in (each, picture))
    style = {"cmap": "inferno", "alpha_overlay": 0.7, "use_pyplot": False}
    viz.visualize_image_attr(heat, original, "blended_heat_map", "positive", (figure, drawn), **style)
    drawn.set_title(f"Occlusion, {title}", fontsize=10)
figure

# %% [markdown]
# Parts that drive the neuron and are in both images matter, parts in one image hardly do on average. (Only four parts are in both and
# drive nothing, too few to say.) Some parts *raise* the similarity when they are gone: what is in one image only makes the two less
# alike, and painting it over brings them together. No map of what is shared shows that.
#
# ## Many neurons at once
#
# A recording has hundreds of neurons, and the forward pass of a pair is the same for all. `attribute_neurons` runs it once, and
# `reduce` keeps of each neuron's maps what you need. Here is one artefact for all twelve neurons, each with the parts that drive it,
# on the absolute scale of the recommended method, so that they compare:

# %%
passes = []
hook = similarity.image_features.cut.register_forward_hook(lambda *call: passes.append(1))
many = dict(recommended.attribute_neurons(pair, reduce=lambda each: each[0][0].sum(0)))
n_together = len(passes)
one_by_one = {neuron: recommended.attribute(pair, target=neuron)[0][0].sum(0) for neuron in range(12)}
hook.remove()
print(f"forward passes of the image for 12 neurons: {n_together} together, {len(passes) - n_together} one by one")

figure = Figure(figsize=(9, 3.8), layout="constrained")
for axes, (neuron, each) in zip(figure.subplots(2, 6).flat, many.items(), strict=True):
    draw_overlay(axes, pair[0][0].permute(1, 2, 0).numpy(), density(each.numpy()), absolute_scale())
    axes.set_title(f"{', '.join(neurons[neuron].tuning)}\nshared {float(each.sum()):.3f}", fontsize=8)
figure

# %% [markdown]
# ## What this tutorial claims

# %%
# the recommended maps hold far more of the truth than the paper's, and these more than chance
assert float(mass_of_recommended.mean()) > 1.5 * float(mass_of_paper.mean()) > 1.5 * area

# NoiseTunnel makes maps of noisy copies more alike; the recommended ones are so by themselves, and less sensitive
assert alike + 0.03 < alike_smooth
assert alike_smooth < alike_recommended
assert abs(float((mass_of_smooth - mass_of_paper).mean())) < 0.05
assert sensitivities["recommended"].median() < 0.5 * sensitivities["paper"].median()

# the paper's maps explain the projection, and do not explain the similarity; of the gradient it is the other way round
assert (shares["the paper's maps", "projection"] < 0.5 * shares["the paper's maps", "similarity"]).all()
assert shares["the paper's maps", "projection"].median() < 0.1 < 0.5 < shares["the paper's maps", "similarity"].median()
assert shares["gradient of the similarity", "similarity"].median() < 0.1
assert shares["gradient of the similarity", "projection"].median() > 0.5

# an encoder that is called twice gives the reference's map for the image's, and zeros
assert abs(float(naive(*pair)) - float(similarity(*pair)[0, k])) < 1e-5
assert torch.allclose(naive_cam, true_cams[1], atol=1e-6)
assert r_image < 0.9
assert largest < 1e-9 < largest_own

# whatever stands for the Jacobian, the maps find the shared parts better than chance
assert min(masses.values()) > own_area

# the similarity loses more without a part that drives the neuron and is in both images than without one that is in one only
in_one = lost[True, False] + lost[False, False]
assert sum(lost[True, True]) / len(lost[True, True]) > 2 * sum(in_one) / len(in_one)

# the maps of many neurons are those of each, from one pass
assert n_together == 1
assert len(passes) == 13
assert all(torch.allclose(many[neuron], one_by_one[neuron], atol=1e-7) for neuron in range(12))
