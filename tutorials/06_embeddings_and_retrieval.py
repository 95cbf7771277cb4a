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
# # Why did this image match that one?
#
# An image search turns every image into an embedding and finds the nearest by their cosine. It says *which* image is nearest,
# never *why*. This tutorial asks why: which parts of the query and of the match made them neighbours. There are no neurons here;
# the "neuron" is the plain cosine of the embedding, and everything works with any network that turns images into features.
#
# The images are drawn ones that come with the package: each knows which pixels belong to which part, so that every answer can
# be checked. Nothing is downloaded.

# %%
# %matplotlib inline
# %config InlineBackend.figure_formats = ["jpeg"]
# %config InlineBackend.print_figure_kwargs = dict(bbox_inches=None, pil_kwargs=dict(quality=88))
import warnings
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from captum.attr import LayerGradCam
from IPython.display import Markdown
from matplotlib.figure import Figure
from torch import nn

from captum_shared import LatentFeatures, LinearReadout, NeuronSimilarity, ReferenceBank, explain
from captum_shared.attr import components, counterpart, embedding_readout
from captum_shared.encoders import embedded_network
from captum_shared.evaluation import Extent, parts_task, positive_mass, run_benchmark, table
from captum_shared.figures import (
    components_figure,
    counterpart_figure,
    draw_outline,
    draw_overlay,
    draw_picture,
    explanation_panels,
    pair_figure,
    scale,
    shared_totals,
)
from captum_shared.methods import METHODS, Method, methods_by_name
from captum_shared.synthetic import draw_stimuli

# %% [markdown]
# ## A gallery, and an encoder
#
# 150 creatures and 150 artefacts to search among, and 60 other drawings to search for. The encoder is the small network of the
# package, cut at its last convolution and averaged over positions.

# %%
gallery = draw_stimuli("creature", 150, seed=1) + draw_stimuli("artefact", 150, seed=2)
queries = draw_stimuli("creature", 30, seed=3) + draw_stimuli("artefact", 30, seed=4)
images = torch.stack([stimulus.image for stimulus in gallery])
asked = torch.stack([stimulus.image for stimulus in queries])

features = LatentFeatures(embedded_network(), "features", pool="average")

# %% [markdown]
# **Your own encoder and photographs**: replace the three lines above. The rest stays as it is.
#
# ```python
# from pathlib import Path
# from captum_shared.encoders import encoder_by_name, load_inputs
#
# features = encoder_by_name("resnet50", weights="DEFAULT")                           # torchvision
# features = encoder_by_name("timm:convnext_tiny", weights="DEFAULT")                 # pip install 'captum-shared[timm]'
# features = encoder_by_name("hf:facebook/dinov2-small", weights="DEFAULT")           # ... 'captum-shared[huggingface]'
# features = LatentFeatures(my_network, "layer4")                                     # any torch.nn.Module of your own
#
# images = load_inputs(features, sorted(Path("gallery").glob("*.jpg")))
# asked = load_inputs(features, sorted(Path("queries").glob("*.jpg")))
# ```
#
# `captum-shared layers resnet50` lists where a network can be cut. Where tutorials say `stimulus.image`, which is RGB in [0, 1]
# to draw maps over, use `load_image` of `captum_shared.images`.
#
# ## The search
#
# `embedding_readout` is the plain cosine as a neuron: all features count the same, and they are measured **from the mean of the
# gallery**. `driver_fraction=1` searches the whole gallery.

# %%
readout = embedding_readout(features, images)
similarity = NeuronSimilarity(features, readout)
bank = ReferenceBank(similarity, images, driver_fraction=1.0)
match = bank.search(asked, top_k=5)


def overlap(first, second) -> float:
    """Parts that two drawings share, of all that either has."""
    return len({*first.masks} & {*second.masks}) / len({*first.masks} | {*second.masks})


def both_have(first, second) -> list[str]:
    return [part for part in first.masks if part in second.masks]


figure = Figure(figsize=(9.4, 5.4), layout="constrained", dpi=100)
grid = figure.subplots(3, 6)
for row, index in zip(grid, (3, 12, 42), strict=True):
    draw_picture(row[0], asked[index].permute(1, 2, 0).numpy())
    row[0].set_title("query", fontsize=9, weight="bold")
    for axes, found, cosine in zip(row[1:], match.indices[index].tolist(), match.similarities[index], strict=True):
        draw_picture(axes, images[found].permute(1, 2, 0).numpy())
        shared = ", ".join(both_have(queries[index], gallery[found])) or "nothing"
        axes.set_title(f"{float(cosine):.2f}\n{shared}", fontsize=7.5)
figure.suptitle("queries, and the best five of 300: cosine, and the parts that both have", fontsize=10)
figure

# %% [markdown]
# ## Why the mean of the gallery is taken off
#
# After a ReLU no feature is negative, and some are large in every image: any two images look alike, and an explanation of their
# cosine explains mostly what *all* images share. Measured from the mean, a cosine of 0 means "no more alike than any two".
#
# For the search itself it matters little here: both cosines rank pairs by the parts that they share, and find matches that
# share as much. **For the explanation it matters a great deal**, as the table further down shows.

# %%
raw = NeuronSimilarity(features, LinearReadout.uniform(readout.n_features))
pairs = torch.combinations(torch.arange(len(images)))
with torch.no_grad():
    latent = torch.cat([features(batch) for batch in images.split(50)])
cosines = {
    name: each.of_features(latent[pairs[:, 0]], latent[pairs[:, 1]])[:, 0].numpy()
    for name, each in {"as it is": raw, "from the mean": similarity}.items()
}
truth = np.array([overlap(gallery[i], gallery[j]) for i, j in pairs.tolist()])
found_by = {"as it is": ReferenceBank(raw, images, driver_fraction=1.0).search(asked), "from the mean": match}
quality = {
    name: np.mean([overlap(query, gallery[i]) for query, i in zip(queries, each.indices[:, 0].tolist(), strict=True)])
    for name, each in found_by.items()
}

figure = Figure(figsize=(8.6, 2.9), layout="constrained", dpi=100)
left, right = figure.subplots(1, 2)
levels = np.array([0, 0.2, 0.4, 0.6, 0.8, 1])
for colour, (name, values) in zip(("#999999", "#0072B2"), cosines.items(), strict=True):
    left.hist(values, bins=np.linspace(-1, 1, 81), color=colour, alpha=0.8, label=name)
    means = [values[np.abs(truth - level) < 0.1].mean() for level in levels]
    right.plot(levels, means, "o-", color=colour, label=f"{name}: best matches share {quality[name]:.2f}")
left.set(xlabel="cosine of two images of the gallery", ylabel="pairs", yticks=[], xticks=[-1, -0.5, 0, 0.5, 1])
right.set(xlabel="share of their parts that both have", ylabel="mean cosine", ylim=(-0.4, 1.05))
for axes in (left, right):
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
figure

# %% [markdown]
# ## The usual answer, and why it is wrong without a word
#
# The usual answer is Grad-CAM: the gradient of the cosine by the last convolution. Captum's `LayerGradCam` hooks a module and
# keeps what its *last call* saw. An encoder that is called twice, once for the query and once for the match, therefore gives the
# map of the **match**, whichever image one means, and nothing warns.


# %%
class CalledTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = LatentFeatures(embedded_network(), "features")

    def forward(self, x: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
        return nn.functional.cosine_similarity(self.encoder(x), self.encoder(r))[:, None]


index = 12
query, found = queries[index], gallery[int(match.indices[index, 0])]

matched = images[match.indices[:, 0]]
naive = CalledTwice()
from_naive = LayerGradCam(naive, naive.encoder.cut).attribute((asked, matched), target=0).detach()
true_maps = [
    LayerGradCam(raw, twin.cut).attribute((asked, matched), target=0).detach()
    for twin in (raw.image_features, raw.reference_features)
]


def alike(maps, others) -> float:
    """Mean correlation of maps, pair by pair."""
    return float(np.mean([np.corrcoef(a.flatten(), b.flatten())[0, 1] for a, b in zip(maps, others, strict=True)]))


like_query, like_match = (alike(from_naive, each) for each in true_maps)
print(f"mean correlation with the true map of the query {like_query:.2f}, of the match {like_match:.2f}")

figure = Figure(figsize=(8.2, 2.9), layout="constrained", dpi=100)
shown = {
    "what one gets for the query": (query, from_naive),
    "Grad-CAM of the query": (query, true_maps[0]),
    "Grad-CAM of the match": (found, true_maps[1]),
}
for axes, (title, (stimulus, cam)) in zip(figure.subplots(1, 3), shown.items(), strict=True):
    heat = nn.functional.interpolate(cam[[index]].clamp(min=0), (112, 112), mode="bilinear")[0, 0].numpy()
    draw_overlay(axes, stimulus.image.permute(1, 2, 0).numpy(), heat, scale(float(heat.max())))
    axes.set_title(title, fontsize=8.5)
figure

# %% [markdown]
# `NeuronSimilarity` runs two *twins* over one set of weights, so that each image has modules of its own, and every method of
# Captum is right on it. (Right about the cosine as it is: that its maps lie beside the animals is what centring is about.)
#
# ## The maps
#
# `explain` makes the maps of any methods. The recommended one compares the two images place by place, and its total, between 0
# and 1, says how much the two have in common. Outlined: the parts that both have.


# %%
def union(stimulus, parts):
    return torch.stack([stimulus.masks[part] for part in parts]).any(0)


def outlined(explanations, query, found, parts, titles=("query", "best match")):
    """The maps of a pair, and an outline around parts."""
    panels = explanation_panels(explanations, torch.stack([query.image, found.image]), titles)
    return [
        replace(panel, region=union(each, parts) if parts else None)
        for panel, each in zip(panels, (query, found), strict=True)
    ]


index = 42
query, found = queries[index], gallery[int(match.indices[index, 0])]
pair = query.image[None], found.image[None]
explanations = explain(similarity, pair, methods=["recommended", "paper", "similarity-grad-cam", "cosine-grad-cam"])
parts = both_have(query, found)
panels = outlined(explanations, query, found, parts)
figure = pair_figure(*panels, title=f"in both: {', '.join(parts)}", shared=shared_totals(explanations))
figure.set_dpi(80)
figure

# %% [markdown]
# Which part matches which? `components` splits the map into parts that correspond, each in one colour with its share.

# %%
maps = explanations["recommended"].attributions
figure = components_figure(
    (query.image, found.image), components(similarity, pair), maps=maps, titles=("query", "best match")
)
figure.set_dpi(110)
figure

# %% [markdown]
# And `counterpart` follows a single point: where is this place of the query in the match?

# %%
row, column = query.masks["horn"].nonzero().double().median(0).values.tolist()
point = (column, row)
horn = counterpart(similarity, pair, point=point)
figure = counterpart_figure((query.image, found.image), horn, point, titles=("query", "best match"))
figure.set_dpi(90)
figure

# %% [markdown]
# ## How much of a map is right? Pairs with one shared part
#
# In these drawings of four parts each, two images share exactly one part and differ in all others. Whatever makes them alike is
# there. `answer largest`: how often that part has more of the map, per pixel, than each of three others (chance 0.25); `mass`:
# the share of the map that lies in it; `pixel AP`: how well the map picks its pixels. A method of your own joins the table by a
# name and a function: here the recommended one, without the mean.


# %%
def from_zero(similarity, pair, target):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that the features are not centred, which is the point here
        uncentred = similarity.with_readout(LinearReadout.uniform(similarity.readout.n_features))
        return METHODS["recommended"].call(uncentred, pair, target)


not_centred = Method("recommended, not centred", "ours", from_zero, kind="layer", absolute=True)
names = ["recommended", not_centred, "similarity-grad-cam", "cosine-grad-cam", "similarity-deeplift", "bilrp", "paper"]
task = parts_task(n_neurons=0, n_fitted=100)
with TemporaryDirectory() as folder:
    result = run_benchmark(
        task, methods_by_name(names), extent=Extent(pairs=100), output=Path(folder, "parts"), progress=False
    )
scored = {entry["name"]: entry["scores"] for entry in result["methods"]}
Markdown(table(result, ["answer_largest", "mass", "pixel_ap"]))

# %%
figure = Figure(figsize=(8.6, 2.6), layout="constrained", dpi=100)
left, right = figure.subplots(1, 2, sharey=True)
rows = list(scored)[::-1]
for axes, score, label in ((left, "answer_largest", "answer largest"), (right, "mass", "mass in the shared part")):
    values = [scored[name][score]["value"] for name in rows]
    reach = [[scored[name][score][end] for name in rows] for end in ("low", "high")]
    bars = np.abs(np.array(reach) - values)
    axes.barh(rows, values, xerr=bars, color=["#0072B2" if name == "recommended" else "#bbbbbb" for name in rows])
    axes.set(xlabel=f"{label}, with 95 % intervals", xlim=(0, 1))
    axes.spines[["top", "right"]].set_visible(False)
left.axvline(0.25, color="black", linestyle=":", linewidth=1)
figure

# %% [markdown]
# ## A wrong match, explained
#
# Explanations are most useful where the search went wrong. So we take the artefacts out of the gallery and look for artefacts
# among creatures. This one has **no part in common** with the creature that was found:

# %%
creatures = ReferenceBank(similarity, images[:150], driver_fraction=1.0)
wrong = creatures.search(asked[30:])
query, found = queries[30], gallery[int(wrong.indices[0, 0])]
pair = query.image[None], found.image[None]
explanations = explain(similarity, pair, methods=["recommended", "similarity-grad-cam"])
panels = outlined(explanations, query, found, [])
title = f"cosine {float(wrong.similarities[0, 0]):.2f}: {', '.join(query.masks)} | {', '.join(found.masks)}"
figure = pair_figure(*panels, title=title, shared=shared_totals(explanations))
figure.set_dpi(80)
figure

# %%
heats = explanations["recommended"].heatmaps
held = [
    {part: float(positive_mass(heat, mask[None])) for part, mask in stimulus.masks.items()}
    for stimulus, heat in zip((query, found), heats, strict=True)
]
for name, shares in zip(("query", "match"), held, strict=True):
    print(f"{name}: " + ", ".join(f"{share:.0%} on the {part}" for part, share in shares.items()))

# %% [markdown]
# To the encoder, the curved blade is a tail. The total says so too: *shared 0.3 of 1* does not mean that the match is right. It
# says how much the **encoder** takes to be the same, and here the encoder is wrong. The map shows where to look.
#
# ## Is it the reason? Hide it
#
# Where no answer is known, a map can still be put to the test: paint over what it names, and the cosine with the match should
# fall. For all 30 artefacts and the creatures that were found for them, 6 % of the query's pixels are painted in the mean colour
# of the gallery: those that a method names first, or as many at random.

# %%
pairs_of_artefacts = asked[30:], images[wrong.indices[:, 0]]


def hidden(pictures, heats, share=0.06):
    n_pixels = int(share * heats[0].numel())
    named = heats.flatten(1).topk(n_pixels).indices
    mask = torch.zeros_like(heats.flatten(1), dtype=torch.bool).scatter(1, named, True).view_as(heats)
    return torch.where(mask[:, None], images.mean((0, 2, 3))[:, None, None], pictures)


names = ["recommended", "similarity-grad-cam", "cosine-grad-cam", "paper", "random"]
falls = {}
with torch.no_grad():
    before = similarity(*pairs_of_artefacts)[:, 0]
    for name in names:
        heats = METHODS[name].maps(similarity, pairs_of_artefacts)[0]
        after = similarity(hidden(pairs_of_artefacts[0], heats), pairs_of_artefacts[1])[:, 0]
        falls[name] = (before - after).numpy()

figure = Figure(figsize=(6.4, 2.2), layout="constrained", dpi=100)
axes = figure.subplots()
means, errors = ([each(falls[name]) for name in names[::-1]] for each in (np.mean, lambda fall: fall.std() / 30**0.5))
axes.barh(names[::-1], means, xerr=errors, color=["#bbbbbb"] * 4 + ["#0072B2"])
axes.set(xlabel="fall of the cosine, with standard errors")
axes.spines[["top", "right"]].set_visible(False)
figure

# %% [markdown]
# A method that sees only the cosine passes this test nearly as well as the recommended one: hiding tells that a map is about
# the cosine, not that it is about what the two images *share*. For that, answers have to be known, as above.
#
# ## Siamese networks: what has the metric learnt?
#
# A siamese network is trained to put pairs that count as the same close together. Below are two, on one trunk: to the first two
# creatures are the same if both have a tail or neither has, to the second if both have horns or neither has. Only the last
# layer is trained, a linear embedding. It stands **before** the pooling (a mean of linear maps is the linear map of the mean),
# so that there is a layer with positions to cut at.


# %%
class Siamese(nn.Module):
    """Which is called once for each image of a pair."""

    def __init__(self, n_dimensions: int = 8) -> None:
        super().__init__()
        network = embedded_network()
        self.trunk = nn.Sequential(network.normalise, network.features)
        self.embed = nn.Conv2d(128, n_dimensions, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.embed(self.trunk(images)).mean((2, 3))


def trained(part: str) -> Siamese:
    torch.manual_seed(0)
    network = Siamese().eval()
    has = torch.tensor([part in stimulus.masks for stimulus in gallery])
    same = 2.0 * (has[:, None] == has) - 1
    balance = torch.where(same > 0, 1 / (same > 0).sum(), 1 / (same < 0).sum())
    optimiser = torch.optim.Adam(network.embed.parameters(), lr=1e-2, weight_decay=1e-4)
    for _ in range(300):
        embedding = nn.functional.normalize(network.embed(latent[:, :, None, None]).flatten(1))
        loss = (balance * (embedding @ embedding.T - same) ** 2).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network


taught = ("tail", "horn")
siamese = {}
for part in taught:
    learnt = LatentFeatures(trained(part), "embed")
    siamese[part] = NeuronSimilarity(learnt, embedding_readout(learnt, images))

# %% [markdown]
# Now pairs of fresh creatures that have both, tail and horn. To the two networks they are alike for different reasons, and only
# an explanation can tell which.

# %%
fresh = [each for each in draw_stimuli("creature", 120, seed=7) if set(taught) <= set(each.masks)][:20]
first, second = fresh, fresh[1:] + fresh[:1]
both = tuple(torch.stack([stimulus.image for stimulus in side]) for side in (first, second))
compared = ["recommended", "similarity-grad-cam", "paper"]
of_network = {part: explain(siamese[part], both, methods=compared) for part in taught}


def mean_mass(explanation, part: str) -> float:
    sides = zip(explanation.heatmaps, (first, second), strict=True)
    masses = [positive_mass(heats, torch.stack([each.masks[part] for each in side])) for heats, side in sides]
    return float(torch.cat(masses).nanmean())


shown = 0
figure = Figure(figsize=(8.8, 4.4), layout="constrained", dpi=100)
grid = figure.subplots(2, 4)
for row, part in zip(grid, taught, strict=True):
    explanation = of_network[part]["recommended"]
    for column, (stimulus, heats) in enumerate(zip((first[shown], second[shown]), explanation.heatmaps, strict=True)):
        heat = heats[shown]
        draw_picture(row[2 * column], stimulus.image.permute(1, 2, 0).numpy())
        norm = scale(float(heat.quantile(0.98)))
        draw_overlay(row[2 * column + 1], stimulus.image.permute(1, 2, 0).numpy(), heat.numpy(), norm)
        draw_outline(row[2 * column + 1], stimulus.masks[part])
    row[0].set_title(f"taught by the {part}", fontsize=9, weight="bold", loc="left")
figure

# %%
print(f"{'share of the map on the':<24}" + "".join(f"{part:>8}" for part in taught))
for part in taught:
    for name in compared:
        shares = [mean_mass(of_network[part][name], each) for each in taught]
        print(f"taught {part}, {name:<20}"[:36].ljust(36), *(f"{share:6.2f}" for share in shares))

# %% [markdown]
# Each network is explained by what it was taught: less cleanly by horns, which are small and often close to the head. The
# other methods hardly tell the two networks apart.
#
# ## What to take home
#
# - Measure features from the mean of the gallery, or of many images of all sorts (`embedding_readout`). Fewer than ten are too
#   few: their mean is what they share.
# - Do not call one encoder twice under Captum's layer methods. `NeuronSimilarity` has twins.
# - A map explains the **encoder's** reason. It is right or wrong about the images as far as the encoder is.
# - Check a reason by hiding it. It costs a few lines, needs no known answer, and refutes more than it proves.
# - The drawn world is simple, and its network was trained to name its parts. On photographs the answers are less clean; the
#   README's tables say how much less.
#
# ## What this tutorial claims

# %%
# an encoder that is called twice gives the match's map for the query, in all pairs
assert torch.allclose(from_naive, true_maps[1], atol=1e-6)
assert like_match > 0.999 > 0.7 > like_query

# centring is for the explanation, not for the search
assert abs(quality["as it is"] - quality["from the mean"]) < 0.05
best, uncentred = (scored[name]["answer_largest"] for name in ("recommended", not_centred.name))
assert best["low"] > uncentred["high"]

# the recommended maps find the part that is shared better than all peers, and far more of them lies on it
others = [scores for name, scores in scored.items() if name != "recommended"]
assert best["value"] > max(scores["answer_largest"]["value"] for scores in others) + 0.05
assert scored["recommended"]["mass"]["value"] > 1.5 * max(scores["mass"]["value"] for scores in others)

# the point on the horn is found on the horn
heat = nn.functional.interpolate(horn.map, (112, 112), mode="bilinear")[0, 0]
horn_of_match = gallery[int(match.indices[42, 0])].masks["horn"]
assert heat[horn_of_match].mean() > 3 * heat[~horn_of_match].mean()

# the wrong match: the blade is taken for a tail
assert not both_have(query, found)
assert max(held[0], key=held[0].__getitem__) == "blade"
assert max(held[1], key=held[1].__getitem__) == "tail"

# hiding what the recommended map names costs far more than hiding as much at random
assert falls["recommended"].mean() > 1.5 * falls["random"].mean()

# of two siamese networks each is explained by what it was taught
for part, other in (taught, taught[::-1]):
    shares = {name: mean_mass(of_network[part][name], part) for name in compared}
    assert shares["recommended"] > 5 * mean_mass(of_network[part]["recommended"], other)
    assert shares["recommended"] > 2 * max(share for name, share in shares.items() if name != "recommended")
