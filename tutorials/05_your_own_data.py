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
# # Your own data: from a folder of photographs and a spreadsheet to the study
#
# You have photographs, and a spreadsheet in which somebody noted how strongly each neuron responded to each of them. Which objects
# drive each neuron, what do they resemble for it, and where? This tutorial goes all the way: a spreadsheet that is as untidy as
# they are, the study, what is in its files, what every number means, and what to check before you believe any of it.
#
# The photographs are drawings here, saved as JPEG, so that nothing is downloaded and the truth is known in the end. Your way
# will be the same.

# %%
# %matplotlib inline
# %config InlineBackend.figure_formats = ["jpeg"]
# %config InlineBackend.print_figure_kwargs = {"bbox_inches": "tight", "dpi": 130, "pil_kwargs": {"quality": 85}}
import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torchvision.transforms.functional import to_pil_image

from captum_shared import Recording, StudySettings, reliability, run_study
from captum_shared.encoders import encoder_by_name, write_features
from captum_shared.evaluation import positive_mass
from captum_shared.figures import Panel, draw_picture, encoding_figure, pair_figure, pair_panels_figure
from captum_shared.report import write_report
from captum_shared.study import StudyResult
from captum_shared.synthetic import category_selective_neurons, draw_stimuli, record

# %% [markdown]
# ## What you have
#
# The next cell plays the laboratory and would not be in your notebook. It leaves a folder of 180 photographs, and a spreadsheet with
# a row for each presentation and a column for each of eight units, exported by a program that writes decimal commas.

# %%
workplace = TemporaryDirectory()
os.chdir(workplace.name)
Path("photographs").mkdir()

stimuli = [*draw_stimuli("creature", 120, seed=11), *draw_stimuli("artefact", 60, seed=12)]
drawn = {f"IMG_{number:04d}": stimulus for number, stimulus in enumerate(stimuli)}
for name, stimulus in drawn.items():
    to_pil_image(stimulus.image).save(f"photographs/{name}.jpg", quality=95)

neurons = category_selective_neurons(6)
shown_twice = record(neurons, stimuli, seed=13, phases=2)
rows = []
for trial, responses in enumerate(shown_twice, start=1):
    for number, (name, values) in enumerate(zip(drawn, responses, strict=True)):
        category = drawn[name].category.title() if number % 7 else f" {drawn[name].category}"
        photo = f"{name}.JPG" if number % 5 else f"{name.lower()}.jpg"
        rows.append([photo, category, trial, *values, 3.0 * ((number * 7919 + trial * 31) % 17), 0.0])
sheet = pd.DataFrame(rows, columns=["Photo", "Category", "Trial", *(f"unit {k}" for k in range(1, 9))])
sheet.loc[17, "unit 3"], sheet.loc[200, "unit 5"] = np.nan, np.nan
sheet = pd.concat([sheet, sheet.iloc[[40]]])  # a row that was pasted twice
sheet.to_csv("spreadsheet.csv", sep=";", decimal=",", na_rep="n/a", index=False)
Path("photographs/IMG_0033.jpg").unlink()  # and a file that nobody can find

# %%
figure = Figure(figsize=(9, 1.6), layout="constrained")
for axes, (name, stimulus) in zip(figure.subplots(1, 8), list(drawn.items())[::24], strict=True):
    draw_picture(axes, stimulus.image.permute(1, 2, 0).numpy())
    axes.set_title(f"{name}.jpg", fontsize=8)
figure

# %%
print("".join(Path("spreadsheet.csv").read_text().splitlines(keepends=True)[:6]))

# %% [markdown]
# A workbook of Excel is read by `pandas.read_excel`, which wants the package `openpyxl`; or saved as CSV. What follows is the same.
#
# ## Tidy it, and let yourself be corrected
#
# `Recording.load` guesses nothing. What it cannot know it refuses, in a sentence that says what to do:

# %%
try:
    Recording.load("spreadsheet.csv")
except ValueError as error:
    print(error)

# %% [markdown]
# A recording is a *long table*: one response a row, with the columns `stimulus_id, neuroid_id, response`, and where there were
# several presentations `repetition`. pandas makes one from the spreadsheet: commas to points, names written one way, columns to rows.

# %%
sheet = pd.read_csv("spreadsheet.csv", sep=";", decimal=",")
sheet["stimulus_id"] = sheet["Photo"].str.strip().str.upper().str.removesuffix(".JPG")
sheet["category"] = sheet["Category"].str.strip().str.lower()

units = [column for column in sheet if column.startswith("unit")]
long = sheet.melt(["stimulus_id", "Trial"], units, var_name="neuroid_id", value_name="response")
long = long.rename(columns={"Trial": "repetition"})
long.to_csv("recording.csv", index=False)
long.head(3)

# %% [markdown]
# Where the images are and what they show is told by a second table, `stimuli.csv`. `captum-shared init` writes one from the folder
# (subfolders would be categories; here the spreadsheet knows them), and a settings file for later.

# %%
# !captum-shared init settings --images photographs

# %%
table = pd.read_csv("settings/stimuli.csv", dtype=str).set_index("stimulus_id")
table["category"] = sheet.groupby("stimulus_id")["category"].first()
table.to_csv("settings/stimuli.csv")
table.head(3)

# %%
where = {"images": "photographs", "stimuli": "settings/stimuli.csv"}
try:
    Recording.load("recording.csv", **where)
except ValueError as error:
    print(error)

# %% [markdown]
# That is the row that was pasted twice. Averaging it in would count one presentation twice, so it is not done silently.

# %%
long = long.drop_duplicates()
long.to_csv("recording.csv", index=False)
try:
    Recording.load("recording.csv", **where)
except ValueError as error:
    print(error)

# %% [markdown]
# And that is the photograph that nobody can find: without it, its responses explain nothing.

# %%
long = long[long["stimulus_id"].isin(table.index)]
long.to_csv("recording.csv", index=False)
recording = Recording.load("recording.csv", **where)

print(f"{recording.n_images} images: {pd.Series(recording.categories).value_counts().to_dict()}")
print(
    f"{recording.n_neurons} neurons; responses missing: {int(np.isnan(recording.halves).sum())} of {recording.halves.size}"
)
print("reliability:", ", ".join(f"{value:.2f}" for value in reliability(recording.halves)))

# %% [markdown]
# Look at these numbers before you go on. The **reliability** is the correlation of the two presentations. Unit 7 has none: whatever
# was recorded there has nothing to do with the images. Unit 8 is silent, so that nothing can be correlated with it.
#
# ## Features, once
#
# The network sees every photograph once, and a *store* keeps what it made of them. It knows of which network and which files it is,
# and refuses others. The study would do without; with many photographs and several studies it saves the most.

# %%
features = encoder_by_name("embedded", "features")
store = write_features("store", features, recording.paths, progress=False)
print(f"{store.features().shape} features of layer {store.layers[0]!r}")

# %% [markdown]
# For **real photographs** take a network that was trained on photographs. Nothing else changes:
#
# ```python
# features = encoder_by_name("resnet50", "layer4", weights="DEFAULT")  # or "timm:...", "hf:..."
# ```
#
# and in the settings below `model = ["resnet50"]`, `weights = ["DEFAULT"]`, `layer = ["auto"]`, which takes the layer that
# predicts your neurons best. Choose `preferred`, the category that your neurons were selected for.
#
# ## The study
#
# `init` has written a settings file with all options explained. These are the ones that we need; `--check` reads everything, looks at
# every file, and says what the study will do and take, before it starts:

# %%
settings_file = """
[study]
recording = "../recording.csv"
images = "../photographs"
stimuli = "stimuli.csv"
preferred = "creature"
model = ["embedded"]
layer = ["features"]
features = ["../store"]
output = "../study"
"""
print(f"init wrote {len(Path('settings/study.toml').read_text().splitlines())} lines, of which this is what is needed")
_ = Path("settings/study.toml").write_text(settings_file)

# %%
# !captum-shared study --config settings/study.toml --check

# %%
# !captum-shared study --config settings/study.toml > summary.txt 2> progress.log

# %%
print(Path("summary.txt").read_text().replace(Path.cwd().as_posix(), "/..."))

# %% [markdown]
# The folder now has everything: `study.json` with all numbers, `maps.npz` with all maps and the pictures as the network saw them,
# `readout.safetensors` with the readouts (for `captum-shared explain`), and the figures of the paper. To look at, there is
# **`report.html`**: one page that opens in a browser without a server or a network, and can be mailed. On the command line it is
# `captum-shared report study`, in Python:

# %%
page = write_report("study", "report.html")
print(f"{page.name}: {page.stat().st_size / 1e6:.1f} MB")

# %% [markdown]
# The same in Python is `run_study`. With `resume=True` it finds that this very study is done, and returns it; had anything been
# another, a response, an image, a weight or a setting, it would have refused.

# %%
settings = StudySettings("creature")
result = run_study(
    recording, features, settings, output="study", model="embedded", store=store, resume=True, progress=False
)
assert result.neurons == StudyResult.load("study").neurons

# %% [markdown]
# ## What each number means
#
# Neurons first. `StudyResult` has them as records; a table says more:

# %%
columns = [
    "name",
    "reliability",
    "ceiling",
    "heldout_correlation",
    "null_interval",
    "ooc_correlation",
    "preferred_mean",
    "ooc_mean",
]
population = pd.DataFrame([{column: getattr(neuron, column) for column in columns} for neuron in result.neurons])
population["chance"] = population.pop("null_interval").map(lambda interval: interval[1])
population["left out because"] = [
    neuron.excluded or ("predicted no better than by chance" if neuron.unpredicted else "") for neuron in result.neurons
]
population.set_index("name").round(2)

# %% [markdown]
# - `reliability`: how well the recording repeats itself, on images of the preferred category, all presentations taken together.
# - `ceiling`: the highest correlation that any prediction can be expected to reach with these responses: the root of the reliability.
# - `heldout_correlation`: predicted with recorded responses, on creatures that the readout was not fitted to.
# - `chance`: if nothing predicted the neuron, the held-out correlation would be below this with a probability of 97.5 %.
# - `ooc_correlation`: the same for the artefacts (*ooc*: out of category), of which the readout saw none. **The maps explain
#   artefacts, so that this is the number that they stand and fall with.**
# - `preferred_mean`, `ooc_mean`: mean responses, in the unit of the recording.
#
# A neuron that does not respond, and one that is predicted no better than by chance, get no maps. Nobody has to find out by eye that
# their maps mean nothing. The first figure of the study shows all of it:

# %%
encoding_figure(result)

# %% [markdown]
# Then the pairs. Each neuron has the two objects that drive it most (`strong`), one that drives it although it resembles none of its
# references (`dissimilar`), and one that hardly drives it (`weak`).

# %%
pairs = pd.DataFrame(
    [
        {"neuron": neuron.name, **{name: getattr(pair, name) for name in columns}}
        for columns in [["kind", "image", "reference", "response", "reference_response", "similarity", "agreement"]]
        for neuron in result.explained
        for pair in neuron.pairs
    ]
)
pairs.head(4).round(3)

# %% [markdown]
# - `similarity`: how alike the two are as this neuron sees them, between −1 and 1. It compares whole images.
# - `agreement`: how much the two share that drives this neuron, place by place, between 0 and 1. It is the total of the recommended
#   maps, and **the first thing to look at**: where it is near 0 there is nothing to see, however bright a picture may be drawn.

# %%
kinds = pairs.groupby("kind")["agreement"].median()
figure = Figure(figsize=(5, 2.2), layout="constrained")
axes = figure.subplots()
for row, kind in enumerate(("strong", "dissimilar", "weak")):
    values = pairs.loc[pairs["kind"] == kind, "agreement"]
    axes.plot(values, [row] * len(values), "o", color="#0072B2", alpha=0.4, markeredgewidth=0)
    axes.plot(kinds[kind], row, "|", color="black", markersize=20, markeredgewidth=2)
axes.set(
    yticks=range(3), yticklabels=("strong", "dissimilar", "weak"), xlabel="agreement; bar: median", ylim=(-0.5, 2.5)
)
axes.invert_yaxis()
figure

# %% [markdown]
# ## The maps
#
# `result.maps(neuron, method)` are the maps of a neuron's pairs, in the unit of the method, not normalised; `result.picture(name)` is
# an image as the network saw it. The figure shows the strongest object of each neuron.

# %%
next(iter(pair_panels_figure(result, "", per_figure=4)))

# %%
best = max(result.explained, key=lambda neuron: neuron.pairs[0].agreement)
pair, maps = best.pairs[0], {method: result.maps(best.name, method)[0] for method in result.methods}
panels = [
    Panel(
        f"{name}, response {response:.0f}",
        torch.from_numpy(result.picture(name)).permute(2, 0, 1) / 255,
        {method: torch.from_numpy(both[side]) for method, both in maps.items()},
    )
    for side, (name, response) in enumerate(((pair.image, pair.response), (pair.reference, pair.reference_response)))
]
pair_figure(*panels, title=f"{best.name}, similarity {pair.similarity:.2f}", shared={"recommended": pair.agreement})

# %% [markdown]
# ### Without this package
#
# The files are plain, so that they can be read in ten years, or in MATLAB, Julia or R. `study.json` has what the records have; a number
# that could not be measured is `null`. `maps.npz` has one array a neuron, whose axes it names.

# %%
content = json.loads(Path("study/study.json").read_text())
archive = np.load("study/maps.npz")
print("study.json:", ", ".join(content))
print("maps.npz:  ", ", ".join(dict.fromkeys(name.split("/")[0] for name in archive.files)))

row = archive["maps_names"].tolist().index(best.name)
by_hand = archive[f"maps/{row:05d}"]
print(f"maps of {best.name}: {dict(zip(archive['axes'].tolist(), by_hand.shape, strict=True))}")
print("methods:", ", ".join(archive["methods"].tolist()), "| sides:", ", ".join(archive["sides"].tolist()))

# %% [markdown]
# ## Before you believe it
#
# 1. **Is the recording reliable?** Two presentations that do not agree explain nothing (`reliability`).
# 2. **Is the neuron predicted, also outside of the category?** `heldout_correlation` above chance, `ooc_correlation` above the
#    interval `ooc_null_interval`, both in sight of their ceilings.
# 3. **Is anything shared?** Read `agreement` before you look at the map.
# 4. **Was the reference better than the next best?** If the second reference is as similar, its map is as good an explanation.
# 5. **Is the map more than chance?** The study puts 19 other images that hardly drive the neuron in the place of the reference, and of
#    the image, and asks how many of them give a map as strong: `p` is at best 1 of 20.
# 6. **Do two methods, or two layers, say the same?** Run the study with a second `model` or `layer`.
#
# The first five for all strong pairs. `evidence` is what the study keeps of each pair besides its maps:

# %%
checks = []
for neuron in result.explained:
    for pair, evidence in zip(neuron.pairs, result.evidence(neuron.name), strict=True):
        lead = pair.references[0].similarity - pair.references[1].similarity
        passed = {
            "predicted": neuron.ooc_correlation > result.ooc_null_interval[1],
            "lead": lead,
            "agreement": pair.agreement,
            "p": max(evidence.p_values) if evidence.p_values else np.nan,
        }
        checks.append({"neuron": neuron.name, "kind": pair.kind, "image": pair.image, **passed})
checks = pd.DataFrame(checks)
checks[checks["kind"] == "strong"].round(3)

# %% [markdown]
# Not every map stands. Unit 2 is predicted splendidly for creatures, and for artefacts hardly beyond chance (its correlation is at the
# edge of the interval): what its readout has learnt of creatures does not hold there, and its maps should be read as questions. Several
# pairs share so little that other images would do as well. A `lead` of next to nothing says that another creature would have made as
# good a reference, so that what matters is what these references have in common.

# %% [markdown]
# ## Was it right?
#
# With photographs nobody can tell. Here the parts that drive each neuron are known, so that we can ask which share of the maps lies on
# parts that do, and are in both images; what an equal spread would have there is the area of these parts.

# %%
truth = dict(zip(units, neurons, strict=False))
rows = []
for neuron in result.explained:
    for index, pair in enumerate(neuron.pairs):
        images = drawn[pair.image], drawn[pair.reference]
        shared = [part for part in truth[neuron.name].tuning if all(part in each.masks for each in images)]
        if pair.kind != "strong" or not shared:
            continue
        regions = torch.stack([torch.stack([each.masks[part] for part in shared]).any(0) for each in images])
        masses = {
            method: float(positive_mass(torch.from_numpy(result.maps(neuron.name, method)[index]), regions).mean())
            for method in result.methods
        }
        rows.append({"neuron": neuron.name, "image": pair.image, **masses, "chance": float(regions.float().mean())})
right = pd.DataFrame(rows)
right.drop(columns=["neuron", "image"]).mean().round(2)

# %%
judged = right.merge(checks, on=["neuron", "image"])
stands = judged["predicted"] & (judged["p"] <= 0.05)
print(f"recommended mass of the {stands.sum()} maps that pass the checks: {judged['recommended'][stands].mean():.2f},")
print(f"of the {(~stands).sum()} that do not: {judged['recommended'][~stands].mean():.2f}")

# %% [markdown]
# Be careful with what that says. A map that does not pass can lie in the right place: in this world all creatures are made of the same
# few parts, so that many images give a map as strong. The checks tell what *can be concluded* from one pair, and on photographs, where
# nobody outlines the truth, that is all there is.
#
# ## What this tutorial claims

# %%
# what the spreadsheet had wrong is mended, and what it did not have is missing
assert recording.n_images == 179
assert np.isnan(recording.halves).sum() == 2
assert set(recording.categories) == {"creature", "artefact"}

# the unit of noise and the silent one get no maps; the others are predicted, and all but one for artefacts, too
assert [neuron.name for neuron in result.neurons if not neuron.pairs] == ["unit 7", "unit 8"]
assert sum(neuron.ooc_correlation > result.ooc_null_interval[1] for neuron in result.explained) >= 5

# the files say the same as the records
assert np.array_equal(by_hand[0, :, 0], result.maps(best.name, "recommended")[0])
assert [entry["name"] for entry in content["neurons"]] == units
assert all(
    np.isclose(result.maps(neuron.name, "recommended")[index].sum((1, 2)), pair.agreement, atol=1e-4).all()
    for neuron in result.explained
    for index, pair in enumerate(neuron.pairs)
)

# strong objects share more with their references than weak ones
assert kinds["strong"] > 1.5 * kinds["weak"]

# the maps lie on what is truly shared: the recommended ones far more than the paper's, and these more than chance
assert right["recommended"].mean() > 1.5 * right["paper"].mean() > 1.5 * right["chance"].mean()

os.chdir("/")
workplace.cleanup()
