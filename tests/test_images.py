import contextlib
import io
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import EpsImagePlugin, Image
from PIL.PngImagePlugin import PngImageFile
from torchvision.models import SqueezeNet1_1_Weights
from torchvision.transforms import functional, v2

from captum_shared.images import image_folder, load_image, load_images, rgb_preprocess, set_max_pixels, to_display

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def pixels(path):
    image = load_image(path)
    assert image.mode == "RGB"
    return np.asarray(image).tolist()


def grey(values):
    return [[[value] * 3 for value in row] for row in values]


def test_rgb_is_read_as_it_is(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "image.png")
    assert pixels(tmp_path / "image.png") == image.tolist()


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp"])
def test_formats(tmp_path, suffix):
    Image.new("RGB", (3, 2), (12, 34, 56)).save(
        tmp_path / f"image.{suffix}", **({"lossless": True} if suffix == "webp" else {})
    )
    assert pixels(tmp_path / f"image.{suffix}") == [[[12, 34, 56]] * 3] * 2


def test_grey_and_black_and_white(tmp_path):
    values = np.array([[0, 7, 255]], dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "grey.png")
    Image.fromarray(values > 6).save(tmp_path / "bits.png")
    assert pixels(tmp_path / "grey.png") == grey([[0, 7, 255]])
    assert pixels(tmp_path / "bits.png") == grey([[0, 255, 255]])


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path, suffix):
    values = np.array([[0, 128, 129, 257, 1000, 32768, 65535]], dtype=np.uint16)  # 257 per 8-bit step
    Image.fromarray(values).save(tmp_path / f"deep.{suffix}")
    assert pixels(tmp_path / f"deep.{suffix}") == grey([[0, 0, 1, 1, 4, 128, 255]])


def test_sixteen_bit_values_in_32_bit_integers(tmp_path):
    Image.fromarray(np.array([[0, 257, 65535]], dtype=np.int32)).save(tmp_path / "wide.tif")
    assert pixels(tmp_path / "wide.tif") == grey([[0, 1, 255]])


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (np.array([[0, 65536]], dtype=np.int32), "pixels from 0 to 65536"),
        (np.array([[-1, 3]], dtype=np.int32), "pixels from -1 to 3"),
        (np.array([[0.5, 3.0]], dtype=np.float32), "floating-point pixels"),
    ],
)
def test_other_bit_depths_are_refused(tmp_path, values, text):
    Image.fromarray(values).save(tmp_path / "wide.tif")
    with pytest.raises(ValueError, match=rf"readable image file at .*wide\.tif, got: {text}"):
        load_image(tmp_path / "wide.tif")


def test_transparency_is_composited_on_white(tmp_path):
    rgba = np.array([[[255, 0, 0, 255], [255, 0, 0, 0], [0, 0, 0, 51]]], dtype=np.uint8)
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    assert pixels(tmp_path / "rgba.png") == [[[255, 0, 0], [255, 255, 255], [204, 204, 204]]]  # 0.8 * 255
    Image.fromarray(np.array([[[100, 255], [100, 0], [0, 51]]], dtype=np.uint8), "LA").save(tmp_path / "la.png")
    assert pixels(tmp_path / "la.png") == grey([[100, 255, 204]])


def palette_image():
    image = Image.new("P", (3, 1))
    image.putpalette([*RED, *GREEN, *BLUE])
    image.putdata([0, 1, 2])
    return image


def test_palettes(tmp_path):
    palette_image().save(tmp_path / "opaque.png")
    assert pixels(tmp_path / "opaque.png") == [[list(RED), list(GREEN), list(BLUE)]]
    palette_image().save(tmp_path / "one.png", transparency=1)
    assert pixels(tmp_path / "one.png") == [[list(RED), [255] * 3, list(BLUE)]]
    palette_image().save(tmp_path / "graded.png", transparency=bytes([255, 0, 51]))
    assert pixels(tmp_path / "graded.png") == [[list(RED), [255] * 3, [204, 204, 255]]]
    palette_image().save(tmp_path / "one.gif", transparency=1)
    assert pixels(tmp_path / "one.gif") == [[list(RED), [255] * 3, list(BLUE)]]


def test_transparent_colour_without_alpha_channel(tmp_path):
    Image.new("L", (1, 1), 7).save(tmp_path / "grey.png", transparency=7)
    Image.new("RGB", (1, 1), RED).save(tmp_path / "rgb.png", transparency=RED)
    Image.fromarray(np.array([[514, 1028]], dtype=np.uint16)).save(tmp_path / "deep.png", transparency=514)
    assert pixels(tmp_path / "grey.png") == grey([[255]])
    assert pixels(tmp_path / "rgb.png") == grey([[255]])
    assert pixels(tmp_path / "deep.png") == grey([[255, 4]])


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, [[1, 2, 3], [4, 5, 6]]),
        (3, [[6, 5, 4], [3, 2, 1]]),
        (6, [[4, 1], [5, 2], [6, 3]]),
        (8, [[3, 6], [2, 5], [1, 4]]),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_exif_rotation_is_applied(tmp_path, orientation, expected, dtype):
    exif = Image.Exif()
    exif[0x0112] = orientation
    scale = 1 if dtype == np.uint8 else 257
    Image.fromarray(np.array([[1, 2, 3], [4, 5, 6]], dtype=dtype) * dtype(scale)).save(
        tmp_path / "image.png", exif=exif
    )
    assert pixels(tmp_path / "image.png") == grey(expected)


def test_exif_rotation_of_a_jpeg(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (32, 16), (10, 200, 30)).save(tmp_path / "camera.jpg", exif=exif)
    assert load_image(tmp_path / "camera.jpg").size == (16, 32)


def test_cmyk_jpeg(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "print.jpg", quality=100)
    assert np.abs(np.asarray(load_image(tmp_path / "print.jpg"), dtype=int) - RED).max() <= 3


def truncated_jpeg(path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG")
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])


def test_damaged_files_are_refused_by_name(tmp_path):
    truncated_jpeg(tmp_path / "half.jpg")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.jpg").touch()
    for name in ["half.jpg", "text.png", "empty.jpg"]:
        with pytest.raises(ValueError, match=rf"Expected a readable image file at .*{name}, got: .*\. Replace it"):
            load_image(tmp_path / name)
    with pytest.raises(ValueError, match="Expected a readable image file at "):
        load_image(tmp_path)


@given(cut=st.integers(0, 300), noise=st.binary(max_size=8))
@settings(max_examples=30, deadline=None)
def test_any_damage_gives_a_value_error_or_an_image(tmp_path_factory, cut, noise):
    buffer = io.BytesIO()
    palette_image().save(buffer, "TIFF")
    path = tmp_path_factory.mktemp("damage") / "image.tif"
    path.write_bytes(buffer.getvalue()[:cut] + noise + buffer.getvalue()[cut + len(noise) :])
    with contextlib.suppress(ValueError):
        assert load_image(path).mode == "RGB"


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"got no file at .*absent\.png: check the path"):
        load_image(tmp_path / "absent.png")


def test_large_images_do_not_warn_and_enormous_ones_say_so(tmp_path, monkeypatch):
    Image.new("L", (30, 10)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_image(tmp_path / "large.png").size == (30, 10)
    for most in (200, 100):  # Pillow refuses what is more than twice as much
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
        with pytest.raises(
            ValueError, match=rf"at most {most} pixels, got more .*large\.png|large\.png: Expected .* {most} "
        ):
            load_image(tmp_path / "large.png")


def test_the_number_of_pixels_can_be_set(tmp_path, monkeypatch):
    Image.new("L", (30, 10)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    set_max_pixels(300)
    assert load_image(tmp_path / "large.png").size == (30, 10)
    with pytest.raises(ValueError, match="at least 1 pixel, got 0"):
        set_max_pixels(0)


@pytest.mark.parametrize("size", [(60_000, 1), (1, 60_000), (51, 1)])
def test_an_image_that_resizing_would_blow_up_is_refused_before_it_is_decoded(tmp_path, size, monkeypatch):
    Image.new("L", size).save(tmp_path / "line.png")
    Image.new("L", (50, 1)).save(tmp_path / "wide.png")
    assert load_image(tmp_path / "wide.png").size == (50, 1)
    monkeypatch.setattr(PngImageFile, "load", None)
    with pytest.raises(
        ValueError, match=rf"line\.png: .* at most 50 times the other, got {size[0]} x {size[1]} pixels"
    ):
        load_image(tmp_path / "line.png")


def test_a_file_that_pillow_would_hand_to_another_program_is_refused(tmp_path, monkeypatch):
    Image.new("RGB", (4, 4)).save(tmp_path / "picture.eps")
    (tmp_path / "picture.eps").rename(tmp_path / "picture.png")
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_: pytest.fail("Ghostscript was run"))
    with pytest.raises(ValueError, match=r"readable image file at .*picture\.png, got: cannot identify"):
        load_image(tmp_path / "picture.png")


def write(path, size, colour):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def test_load_images_equals_the_preset_one_by_one(tmp_path):
    preset = SqueezeNet1_1_Weights.IMAGENET1K_V1.transforms()
    paths = [write(tmp_path / "a.png", (300, 280), RED), write(tmp_path / "b.png", (260, 400), (9, 99, 199))]
    batch = load_images(paths, preset)
    assert batch.shape == (2, 3, 224, 224)
    for image, path in zip(batch, paths, strict=True):
        torch.testing.assert_close(image, preset(load_image(path)), rtol=0, atol=0)


def test_load_images_keeps_the_dtype_and_order(tmp_path):
    paths = [write(tmp_path / f"{index}.png", (2, 1), (index, 0, 0)) for index in (2, 0, 1)]
    batch = load_images(paths, lambda image: functional.pil_to_tensor(image).double())
    assert batch.dtype == torch.float64
    assert batch[:, 0, 0, 0].tolist() == [2, 0, 1]


def test_progress_bar(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("captum_shared._progress.EVERY", 0.0)
    paths = [str(write(tmp_path / "a.png", (2, 1), RED))] * 3
    load_images(paths, functional.to_tensor)
    assert capsys.readouterr().err == ""
    load_images(paths, functional.to_tensor, progress=True)
    assert "3/3" in capsys.readouterr().err


def test_load_images_refuses(tmp_path):
    wide, tall = write(tmp_path / "wide.png", (4, 2), RED), write(tmp_path / "tall.png", (2, 4), RED)
    with pytest.raises(ValueError, match=r"\(3, 2, 4\) for .*wide\.png and \(3, 4, 2\) for .*tall\.png"):
        load_images([wide, wide, tall], functional.to_tensor)
    with pytest.raises(ValueError, match="at least one path"):
        load_images([], functional.to_tensor)
    with pytest.raises(TypeError, match="single path"):
        load_images(str(wide), functional.to_tensor)
    with pytest.raises(TypeError, match=r"floating-point tensor, got torch\.uint8"):
        load_images([wide], functional.pil_to_tensor)
    with pytest.raises(TypeError, match="floating-point tensor, got Image"):
        load_images([wide], lambda image: image)
    with pytest.raises(ValueError, match=r"got \(1, 3, 2, 4\) for .*wide\.png"):
        load_images([wide], lambda image: functional.to_tensor(image)[None])


def test_image_folder(tmp_path):
    names = [
        "z.png",
        "bodies/b.JPG",
        "bodies/a.png",
        "bodies/left/hand.png",
        "objects/cup.jpeg",
        ".cache/x.png",
        "objects/.y.png",
    ]
    for name in names:
        write(tmp_path / name, (2, 2), RED)
    (tmp_path / "bodies" / "notes.txt").write_text("not an image")
    (tmp_path / "folder.png").mkdir()
    paths, categories = image_folder(str(tmp_path))
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        "bodies/a.png",
        "bodies/b.JPG",
        "bodies/left/hand.png",
        "objects/cup.jpeg",
        "z.png",
    ]
    assert categories == ["bodies", "bodies", "bodies", "objects", ""]


def test_image_folder_refuses(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"got no folder at .*absent"):
        image_folder(tmp_path / "absent")
    with pytest.raises(ValueError, match=r"Expected images \(\.bmp, .*\) below .*, got none"):
        image_folder(tmp_path)


def test_to_display_undoes_the_preset(tmp_path):
    preset = SqueezeNet1_1_Weights.IMAGENET1K_V1.transforms()
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8))
    expected = functional.center_crop(functional.to_tensor(image), [224])  # no resampling at this size
    shown = to_display(preset(image)[None].double(), preset)
    assert shown.dtype == torch.float64
    torch.testing.assert_close(shown[0], expected.double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(to_display(preset(image).double(), preset), shown[0], rtol=0, atol=0)
    composed = v2.Compose([v2.Resize(8), v2.Normalize(preset.mean, preset.std)])
    torch.testing.assert_close(to_display(preset(image)[None].double(), composed), shown, rtol=0, atol=0)


def test_to_display_by_hand():
    images = torch.tensor([[[-2.0]], [[0.5]], [[9.0]]], dtype=torch.float64)
    assert to_display(images, v2.Normalize([0.5, 0.25, 0.5], [0.125, 0.5, 0.5])).flatten().tolist() == [0.25, 0.5, 1]
    assert to_display(images, functional.to_tensor).flatten().tolist() == [0, 0.5, 1]
    assert to_display(images, rgb_preprocess(4)).flatten().tolist() == [0, 0.5, 1]


def test_to_display_refuses():
    with pytest.raises(ValueError, match=r"with 3 channels, as many as preprocess\.mean, got 4"):
        to_display(torch.zeros(4, 2, 2), v2.Normalize([0.5] * 3, [0.5] * 3))
    with pytest.raises(ValueError, match=r"\(image, channel, height, width\), got \(1, 1, 1, 2, 2\)"):
        to_display(torch.zeros(1, 1, 1, 2, 2), None)


def test_rgb_preprocess():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 90, 3), dtype=np.uint8))
    expected = functional.to_tensor(functional.center_crop(functional.resize(image, 20), 20))
    torch.testing.assert_close(rgb_preprocess(20)(image), expected, rtol=0, atol=1e-7)
    with pytest.raises(ValueError, match="at least 1 pixel, got 0"):
        rgb_preprocess(0)
