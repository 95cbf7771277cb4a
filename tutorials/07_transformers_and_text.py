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
# # Transformers, and images with sentences
#
# Two questions. Do maps of what two images share work with a vision transformer as they do with a convolutional network? And
# what if the second "image" is a sentence: which part of the picture matches which word? Both in the drawn world of the package,
# with networks that are trained below in seconds, and with the answers known. Nothing is downloaded.

# %%
# %matplotlib inline
# %config InlineBackend.figure_formats = ["jpeg"]
# %config InlineBackend.print_figure_kwargs = dict(bbox_inches=None, pil_kwargs=dict(quality=88))
import numpy as np
import torch
from captum.attr import LayerGradCam
from matplotlib.figure import Figure
from torch import nn
from torch.nn import functional
from torchvision.models import VisionTransformer

from captum_shared import LatentFeatures, LayerSharedAttribution, LinearReadout, NeuronSimilarity
from captum_shared.attr import embedding_readout
from captum_shared.encoders import embedded_network, encoder_by_name
from captum_shared.evaluation import parts_task, positive_mass
from captum_shared.figures import draw_outline, draw_overlay, draw_picture, scale
from captum_shared.methods import METHODS
from captum_shared.synthetic import PARTS, draw_stimuli

# %% [markdown]
# ## Where a transformer can be cut
#
# A block of a vision transformer gives tokens: one for each patch, and some in front of them (class token, registers).
# `LatentFeatures` lays the patches out in rows and columns and leaves the others out of the mean. `pool="class_token"` takes the
# class token instead, as retrieval often does; but it has no positions, so that no map can be made at that layer. With random
# weights, by name, to see the shapes:

# %%
for name, layer in (("vit_b_16", "encoder.layers.encoder_layer_5"), ("timm:vit_tiny_patch16_224", "blocks.5")):
    by_name = encoder_by_name(name, layer)
    shapes = []
    handle = by_name.cut.register_forward_hook(lambda module, inputs, output, kept=shapes: kept.append(output.shape))
    pooled = by_name(torch.zeros(1, 3, 224, 224))
    handle.remove()
    print(f"{name}, {layer}: {tuple(shapes[0])} at the cut, pooled to {tuple(pooled.shape)}")

# %% [markdown]
# **Real weights.** The rest of this tutorial stays as it is with
#
# ```python
# encoder_by_name("vit_b_16", "encoder.layers.encoder_layer_8", weights="DEFAULT")      # torchvision
# encoder_by_name("timm:vit_small_patch14_dinov2.lvd142m", weights="DEFAULT")           # pip install 'captum-shared[timm]'
# encoder_by_name("hf:facebook/dinov2-small", weights="DEFAULT")                        # ... 'captum-shared[huggingface]'
# encoder_by_name("hf:openai/clip-vit-base-patch32", weights="DEFAULT")                 # the images' side of CLIP, or of SigLIP
# ```
#
# `captum-shared layers hf:facebook/dinov2-small` lists the layers. A token that cannot be laid out by itself is told by
# `LatentFeatures(..., layout=(rows, columns))`. For CLIP with sentences see the end.
#
# ## Two small transformers
#
# Both learn to name the parts in 500 drawings. One sees patches of 16 x 16 **pixels**, as a ViT does. The other has the same
# blocks but reads the features of the **convolutional** network of the package, two by two.

# %%
drawn = draw_stimuli("creature", 250, seed=1) + draw_stimuli("artefact", 250, seed=2)
fresh = draw_stimuli("creature", 50, seed=11) + draw_stimuli("artefact", 50, seed=12)
images, unseen = (torch.stack([stimulus.image for stimulus in each]) for each in (drawn, fresh))
labels = torch.tensor([[float(part in stimulus.masks) for part in PARTS] for stimulus in drawn])

convolutional = embedded_network()
with torch.no_grad():
    activations = torch.cat([convolutional.features(convolutional.normalise(batch)) for batch in images.split(50)])


class MeanOfTokens(VisionTransformer):
    """Reads the mean of the patches' tokens."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        patches = self._process_input(inputs)
        tokens = self.encoder(torch.cat([self.class_token.expand(len(patches), -1, -1), patches], 1))
        return self.heads(tokens[:, 1:].mean(1))


def trained(network: nn.Module, inputs: torch.Tensor, *, epochs: int = 8) -> nn.Module:
    torch.manual_seed(0)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.01)
    for _ in range(epochs):
        for chosen in torch.randperm(len(inputs)).split(50):
            loss = functional.binary_cross_entropy_with_logits(network(inputs[chosen]), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return network.eval()


sizes = {"num_layers": 3, "num_heads": 4, "hidden_dim": 64, "mlp_dim": 128, "num_classes": len(PARTS)}
torch.manual_seed(0)
of_pixels = trained(MeanOfTokens(image_size=112, patch_size=16, **sizes), images)
of_features = MeanOfTokens(image_size=14, patch_size=2, **sizes)
of_features.conv_proj = nn.Conv2d(128, 64, 2, stride=2)
of_features = nn.Sequential(convolutional.normalise, convolutional.features, trained(of_features, activations))

block = "encoder.layers.encoder_layer_{}"
encoders = {
    "convolutional": LatentFeatures(convolutional, "features"),
    **{f"pixels, block {n}": LatentFeatures(of_pixels, block.format(n)) for n in (0, 2)},
    **{f"features, block {n}": LatentFeatures(of_features, f"2.{block.format(n)}") for n in (0, 2)},
}

# %% [markdown]
# ## What to expect: a map is as good as its tokens
#
# A map can only be right if a token tells what is **there**. That can be measured without any map: a linear probe, from the token
# to the part under it, on fresh drawings. And how good maps are is known for pairs of drawings that share one part.


# %%
def at_cut(features: LatentFeatures, inputs: torch.Tensor) -> torch.Tensor:
    """Tokens in rows and columns."""
    kept: list[torch.Tensor] = []
    handle = features.cut.register_forward_hook(lambda module, inputs, output: kept.append(output.detach()))
    with torch.no_grad():
        for batch in inputs.split(50):
            features(batch)
    handle.remove()
    return torch.cat(kept)


def tokens_tell(features: LatentFeatures) -> float:
    """How often a linear probe of a token, of two parts, prefers the one that is there: of fresh drawings."""
    sides = []
    for stimuli, inputs in ((drawn, images), (fresh, unseen)):
        tokens = functional.adaptive_avg_pool2d(at_cut(features, inputs), 7).permute(0, 2, 3, 1).flatten(0, 2)
        empty = torch.zeros(112, 112, dtype=torch.bool)
        masks = torch.stack([torch.stack([each.masks.get(part, empty) for part in PARTS]) for each in stimuli])
        there = functional.adaptive_avg_pool2d(masks.float(), 7).permute(0, 2, 3, 1).flatten(0, 2)
        sides.append((tokens.double(), there.double()))
    (tokens, there), (new_tokens, new_there) = sides
    mean, spread = tokens.mean(0), tokens.std(0) + 1e-6
    tokens, new_tokens = ((each - mean) / spread for each in (tokens, new_tokens))
    ridge = tokens.mT @ tokens + 100 * torch.eye(tokens.shape[1])
    predicted = new_tokens @ torch.linalg.solve(ridge, tokens.mT @ (there - there.mean(0)))
    covered, part = new_there.max(1)
    predicted, part = predicted[covered > 0.3], part[covered > 0.3]
    below = (predicted < predicted.gather(1, part[:, None])).double().sum(1)
    return float((below / (len(PARTS) - 1)).mean())


task = parts_task(n_neurons=0, n_fitted=20)
trials = [task.trial(index) for index in range(60)]
stacked = torch.stack([trial.images for trial in trials])
pair = stacked[:, 0], stacked[:, 1]
regions = torch.stack([trial.regions for trial in trials]).transpose(0, 1)  # side, pair, part, row, column


def answer_largest(features: LatentFeatures, method: str) -> float:
    """How often the part that both images have holds more of the map, per pixel, than each other part."""
    similarity = NeuronSimilarity(features, embedding_readout(features, images))
    maps = METHODS[method].maps(similarity, pair)
    inside = torch.stack([(heats[:, None] * own).sum((2, 3)) for heats, own in zip(maps, regions, strict=True)])
    return float(((inside / regions.sum((3, 4))).argmax(2) == 0).double().mean())


def own_share(features: LatentFeatures) -> float:
    """Of all that varies among tokens, the share that varies within an image; the rest is the same all over an image."""
    tokens = at_cut(features, unseen).flatten(2)
    within, among = tokens - tokens.mean(2, keepdim=True), tokens - tokens.mean((0, 2), keepdim=True)
    return float(within.square().sum() / among.square().sum())


told = {name: tokens_tell(features) for name, features in encoders.items()}
own = {name: own_share(features) for name, features in encoders.items()}
right = {name: answer_largest(features, "recommended") for name, features in encoders.items()}
print(f"{'':<20} tokens tell what is there   vary within an image   maps are right")
print(f"{'chance':<20} {0.5:26.2f} {'':>22} {0.25:16.2f}")
for name in encoders:
    print(f"{name:<20} {told[name]:26.2f} {own[name]:22.2f} {right[name]:16.2f}")

# %%
figure = Figure(figsize=(6.0, 3.6), layout="constrained", dpi=100)
axes = figure.subplots()
colours = {"convolutional": "#0072B2", "pixels": "#D55E00", "features": "#009E73"}
for name in encoders:
    axes.plot(told[name], right[name], "o", markersize=9, color=colours[name.split(",")[0]])
    axes.annotate(name, (told[name], right[name]), textcoords="offset points", xytext=(-9, 3), ha="right", fontsize=8)
axes.axhline(0.25, color="black", linestyle=":", linewidth=1)
axes.text(0.5, 0.26, "chance", fontsize=8, va="bottom")
axes.set(
    xlabel="tokens tell what is there (probe on fresh drawings)", ylabel="answer largest", xlim=(0.45, 1), ylim=(0, 1)
)
axes.spines[["top", "right"]].set_visible(False)
figure

# %% [markdown]
# The honest result: **small transformers make poor maps here**, and the first column says why for the one that sees pixels:
# trained on a few drawings, its tokens hardly tell what lies under them. That tokens tell is necessary, and it is **not enough**:
# over the convolutional features all tokens tell, and yet maps get worse from block to block, and stay far behind those of the
# same features without a transformer. The second column says why: each block mixes what is in the whole image into every token,
# until most of what a token says is the same all over the image, so that places agree that hold different things. More training
# does not mend that: the benchmark of this package trains a small transformer for 48 minutes on 6,000 drawings, until it names
# parts with an average precision of 0.85, and its maps are right in 0.28 of cases (`benchmarks/transformer.py`).
#
# So before you trust the maps of a transformer, measure both on your images (the second needs no labels), or run
# `captum-shared benchmark grid` on your own photographs; take an early or middle block rather than the last; and prefer networks
# that are known for local tokens (DINO, DINOv2) to those that are trained by their class token alone.
#
# ## A picture and a sentence
#
# References can be of another kind, with an encoder of their own: `NeuronSimilarity(..., reference_features=text)`. The two have
# to end in one space. Here is a small pair of towers: the convolutional trunk with a linear embedding, and a transformer of one
# block that reads six words. They are trained to put a drawing close to sentences that are true of it.

# %%
words = ["a", "drawing", "with", "and", *PARTS]


def sentence(first: str, second: str) -> torch.Tensor:
    """Numbers of the words."""
    return torch.tensor([words.index(word) for word in ("a", "drawing", "with", first, "and", second)])


class Picture(nn.Module):
    def __init__(self, last: type[nn.Module], n_dimensions: int = 32) -> None:
        super().__init__()
        network = embedded_network()
        self.trunk = nn.Sequential(network.normalise, network.features)
        self.embed = nn.Sequential(nn.Conv2d(128, n_dimensions, 1), last())

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.embed(self.trunk(pictures)).mean((2, 3))


class Text(nn.Module):
    def __init__(self, last: type[nn.Module], n_dimensions: int = 32) -> None:
        super().__init__()
        self.words = nn.Embedding(len(words), n_dimensions)
        self.order = nn.Parameter(0.02 * torch.randn(6, n_dimensions))
        self.block = nn.TransformerEncoderLayer(n_dimensions, 4, 64, dropout=0.0, batch_first=True)
        self.embed = nn.Sequential(nn.Linear(n_dimensions, n_dimensions), last())

    def forward(self, sentences: torch.Tensor) -> torch.Tensor:
        return self.embed(self.block(self.words(sentences) + self.order)).mean(1)


def towers(last: type[nn.Module], *, steps: int = 250) -> tuple[Picture, Text]:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    picture, text = Picture(last).eval(), Text(last)
    coarse = functional.adaptive_avg_pool2d(activations, 7)
    optimiser = torch.optim.Adam([*picture.embed.parameters(), *text.parameters()], lr=3e-3)
    for _ in range(steps):
        chosen = rng.integers(0, len(drawn), 48)
        said = [(rng.permutation(list(drawn[index].masks)).tolist() * 2)[:2] for index in chosen]
        true = torch.tensor([[np.mean([part in drawn[i].masks for part in parts]) for parts in said] for i in chosen])
        seen = functional.normalize(picture.embed(coarse[chosen]).mean((2, 3)))
        read = functional.normalize(text(torch.stack([sentence(*parts) for parts in said])))
        loss = ((seen @ read.T - true.float()) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return picture, text.eval()


towers_of = {"may be negative": towers(nn.Identity), "not negative (ReLU)": towers(nn.ReLU)}

# %% [markdown]
# ## Which words, and where
#
# Each sentence names one part that the drawing has and one that it has not. The answer is known on both sides: the word that is
# true, and the pixels of its part. `LayerSharedAttribution` makes maps at a layer of each tower: `None` for the cut of the
# picture's, and the name of the module of the other, here with one row of features a word. As whole numbers have no gradient,
# a layer is also what token ids need. Grad-CAM of the similarity is Captum's own, on the twins.

# %%
shown = [stimulus for stimulus in fresh if len(stimulus.masks) > 1]
rng = np.random.default_rng(0)
true_parts = [str(rng.choice(list(stimulus.masks))) for stimulus in shown]
false_parts = [str(rng.choice([part for part in PARTS if part not in stimulus.masks])) for stimulus in shown]
true_first = rng.random(len(shown)) < 0.5
said = [
    (true, false) if first else (false, true)
    for true, false, first in zip(true_parts, false_parts, true_first, strict=True)
]
inputs = torch.stack([stimulus.image for stimulus in shown]), torch.stack([sentence(*parts) for parts in said])


def scored(picture_map: torch.Tensor, word_map: torch.Tensor) -> dict[str, float]:
    """How often the true part is the strongest of the drawing's, and the true word the stronger of the two."""
    heats = functional.interpolate(picture_map.clamp(min=0), (112, 112), mode="bilinear")[:, 0]
    strongest = [
        max(each.masks, key=lambda part, each=each, heat=heat: float(heat[each.masks[part]].mean()))
        for each, heat in zip(shown, heats, strict=True)
    ]
    mass = positive_mass(heats, torch.stack([each.masks[part] for each, part in zip(shown, true_parts, strict=True)]))
    better = (word_map[:, 3] > word_map[:, 5]).numpy() == true_first
    return {
        "part": float(np.mean([a == b for a, b in zip(strongest, true_parts, strict=True)])),
        "word": float(better.mean()),
        "mass": float(mass.nanmean()),
    }


results, kept = {}, {}
for name, (picture, text) in towers_of.items():
    features = LatentFeatures(picture, "embed")
    similarity = NeuronSimilarity(features, LinearReadout.uniform(32), reference_features=text)
    method = LayerSharedAttribution(similarity, (None, "embed"))
    places, tokens = method.attribute(inputs)
    kept[name] = places.sum(1, keepdim=True), tokens.sum(2)
    cams = [
        LayerGradCam(similarity, layer).attribute(inputs, target=0, attr_dim_summation=True).detach()
        for layer in (similarity.image_features.cut,)
    ]
    results[name, "shared weights at the layer"] = scored(*kept[name])
    results[name, "Grad-CAM of the similarity"] = scored(cams[0], kept[name][1])

chance = float(np.mean([1 / len(stimulus.masks) for stimulus in shown]))
area = float(np.mean([each.masks[part].float().mean() for each, part in zip(shown, true_parts, strict=True)]))
print(f"{'chance':<50} part {chance:.2f}  word 0.50  mass {area:.2f}")
for (name, method), each in results.items():
    words_told = f"{each['word']:.2f}" if method.startswith("shared") else "   -"
    print(f"{name:<20} {method:<29} part {each['part']:.2f}  word {words_told}  mass {each['mass']:.2f}")

# %% [markdown]
# **The sign matters.** Where features may be negative, as in CLIP's embedding, the shared weights h = v(x) ∘ v(r) lose it: two
# features that are both negative count as shared, and h ∘ activation then points the wrong way. The maps are at chance, though the
# two towers match pictures and sentences just as well. End both towers in a ReLU, or cut before the last linear layer, or take
# Grad-CAM of the similarity, whose gradient keeps the sign.

# %%
places, tokens = kept["not negative (ReLU)"]
figure = Figure(figsize=(9.0, 5.2), layout="constrained", dpi=100)
grid = figure.subplots(3, 4, height_ratios=(1, 1, 0.55))
for column, index in enumerate((2, 17, 55, 80)):
    stimulus = shown[index]
    picture = stimulus.image.permute(1, 2, 0).numpy()
    heat = functional.interpolate(places[[index]], (112, 112), mode="bilinear")[0, 0]
    above, middle, below = grid[:, column]
    draw_picture(above, picture)
    above.set_title(f'"... with {said[index][0]} and {said[index][1]}"', fontsize=9)
    draw_overlay(middle, picture, heat.numpy(), scale(float(heat.max())))
    draw_outline(middle, stimulus.masks[true_parts[index]])
    of_words = (tokens[index] / tokens[index].sum()).tolist()
    colours = ["#0072B2" if words[word] == true_parts[index] else "#bbbbbb" for word in inputs[1][index].tolist()]
    below.bar(range(6), of_words, color=colours)
    below.set_xticks(range(6), [words[word] for word in inputs[1][index].tolist()], rotation=40, ha="right", fontsize=8)
    below.set(ylim=(0, 1), yticks=[])
    below.spines[["top", "right", "left"]].set_visible(False)
figure.suptitle("outlined, and blue: the part that is in the drawing", fontsize=10)
figure

# %% [markdown]
# **A real CLIP or SigLIP** has the same two towers; a module for each, that gives one row of features:
#
# ```python
# from transformers import AutoProcessor, CLIPModel
#
# clip = CLIPModel.from_pretrained("openai/clip-vit-base-patch32").eval()
#
# class Seen(nn.Module):
#     def __init__(self):
#         super().__init__()
#         self.clip = clip
#
#     def forward(self, pixels):
#         return self.clip.visual_projection(self.clip.vision_model(pixels).pooler_output)
#
# class Read(nn.Module):
#     def __init__(self):
#         super().__init__()
#         self.clip = clip
#
#     def forward(self, ids):
#         return self.clip.text_projection(self.clip.text_model(ids).pooler_output)
#
# similarity = NeuronSimilarity(Seen(), LinearReadout.uniform(512), reference_features=Read())
# of_patches, of_words = similarity.layer_modules(("clip.vision_model.encoder.layers.9", "clip.text_model.encoder.layers.9"))
# tokens = LayerGradientXActivation(similarity, of_patches).attribute((pixels, ids), target=0).sum(2)    # of captum.attr
# picture = tokens[:, 1:].reshape(-1, 7, 7)                                                    # without the class token
# ```
#
# CLIP's embedding may be negative, so this takes Captum's gradient times activation of the similarity itself.
#
# ## What this tutorial claims

# %%
# maps are right where tokens tell what is there; where they do not they are poor, and blocks of attention make them worse
assert told["convolutional"] > 0.9 > 0.8 > told["pixels, block 2"]
assert right["convolutional"] > 0.65 > 0.55 > max(right["pixels, block 0"], right["pixels, block 2"])
assert told["features, block 2"] > 0.9
assert own["convolutional"] > own["features, block 0"] > own["features, block 2"] + 0.1
assert right["convolutional"] - 0.15 > right["features, block 0"] > right["features, block 2"]

# of a picture and a sentence, the true part and the true word are told; not where features may be negative
signed, relu = (results[name, "shared weights at the layer"] for name in towers_of)
assert relu["part"] > 0.75 > chance + 0.2
assert relu["word"] > 0.8
assert relu["mass"] > 2.5 * area
assert signed["part"] < chance + 0.15
assert results["may be negative", "Grad-CAM of the similarity"]["part"] > signed["part"] + 0.2
