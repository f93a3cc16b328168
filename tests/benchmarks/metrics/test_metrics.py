"""The metrics compared with scikit-image, SciPy and known values."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from benchmarks.data.paper import eq6, speed_up
from benchmarks.data.peers import Peer, PeerError
from benchmarks.metrics import similarity
from benchmarks.metrics.gram import GramDistance, VggWeightsError
from benchmarks.metrics.mkl import transported
from device_runtime.motion.flow import Motion
from device_runtime.preview.contact_sheet import HEADER, write_sheet

Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def coffee() -> Picture:
    return np.asarray(cv2.resize(data.coffee(), (300, 200), interpolation=cv2.INTER_AREA), np.uint8)


@pytest.fixture(scope="module")
def noisy(coffee: Picture) -> Picture:
    noise = np.random.default_rng(0).normal(0, 12, coffee.shape)
    return np.asarray((coffee + noise).clip(0, 255), np.uint8)


def test_ssim_and_psnr_match_scikit_image(coffee: Picture, noisy: Picture) -> None:
    first, second = similarity.luma(coffee), similarity.luma(noisy)
    reference = structural_similarity(
        first, second, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    assert similarity.ssim(first, second) == pytest.approx(reference, abs=2e-3)  # the borders differ
    assert similarity.psnr(coffee, noisy) == pytest.approx(peak_signal_noise_ratio(coffee, noisy), abs=1e-6)
    assert similarity.ssim(first, first) == pytest.approx(1)
    assert similarity.psnr(coffee, coffee) == 100


def test_edge_ssim_depends_on_edges_and_not_on_contrast(coffee: Picture) -> None:
    paler = np.asarray(coffee * 0.5 + 60, np.uint8)
    blurred = np.asarray(cv2.GaussianBlur(coffee, (0, 0), 3), np.uint8)
    assert similarity.edge_ssim(coffee, paler) > 0.97
    assert similarity.edge_ssim(coffee, blurred) < 0.7


def test_sliced_wasserstein_of_grays_is_their_difference_in_lightness() -> None:
    rng = np.random.default_rng(1)
    grays = [
        np.repeat(rng.integers(*ends, (64, 64, 1)), 3, -1).astype(np.uint8) for ends in ((0, 90), (120, 255))
    ]
    lightness = [cv2.cvtColor(g.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[..., 0].ravel() for g in grays]
    # Grays only differ in L; on average, a direction projects a third of the squared difference.
    assert similarity.sliced_wasserstein(*grays) == pytest.approx(
        wasserstein_distance(*lightness) / np.sqrt(3), rel=0.1
    )
    assert similarity.sliced_wasserstein(grays[0], grays[0]) == 0


def test_warping_error_and_flicker_ignore_motion(coffee: Picture) -> None:
    large = np.asarray(cv2.resize(coffee, (480, 320)), np.uint8)
    pan = [np.ascontiguousarray(large[20:260, 20 + 3 * k : 340 + 3 * k]) for k in range(4)]
    still = float(np.sqrt(np.mean((pan[1].astype(float) - pan[0]) ** 2)))
    assert max(similarity.warping_errors(similarity.motions(pan), pan)) < still / 4
    jumping = [
        np.asarray(frame.clip(8, 247).astype(int) + 8 * (-1) ** k, np.uint8) for k, frame in enumerate(pan)
    ]
    assert similarity.flicker(pan, pan) == [0, 0, 0]
    assert np.allclose(similarity.flicker(pan, jumping), 16, atol=1.5)


def test_warping_error_is_the_root_mean_square_of_what_is_visible() -> None:
    rng = np.random.default_rng(3)
    before, after = rng.integers(0, 256, (2, 40, 60, 3), np.uint8)
    visible = np.repeat([[1.0, 0.0]], 30, 1).reshape(1, 60).repeat(40, 0).astype(np.float32)
    still = Motion(np.zeros((40, 60, 2), np.float32), visible)
    hidden = Motion(still.flow, np.zeros_like(visible))
    wanted = np.sqrt(np.mean((after[:, :30].astype(float) - before[:, :30]) ** 2))
    errors = similarity.warping_errors([still, hidden], [before, after, before])
    assert errors == [pytest.approx(wanted, rel=1e-6), 0.0]


def test_color_transport_matches_the_styles_mean_and_covariance(coffee: Picture) -> None:
    rng = np.random.default_rng(2)
    gains = np.array([[0.5, 0.1, 0], [0, 0.4, 0.1], [0.1, 0, 0.3]])
    style = (rng.normal(0, 50, (100, 100, 3)) @ gains + [120, 110, 130]).clip(0, 255).astype(np.uint8)
    made = transported(coffee, style).reshape(-1, 3).astype(float)
    assert np.allclose(made.mean(0), style.reshape(-1, 3).mean(0), atol=1)
    assert np.allclose(np.cov(made.T), np.cov(style.reshape(-1, 3).T), atol=25)
    assert np.abs(transported(coffee, coffee).astype(int) - coffee).max() <= 1


def test_gram_distance_matches_vgg_features(coffee: Picture, noisy: Picture) -> None:
    from training.vgg import FEATURE_SCALE, VggEncoder, gram

    distance = GramDistance()
    assert distance.layers == ("1_2", "2_2", "3_3")
    first, second = distance.grams(coffee), distance.grams(noisy)
    encoder = VggEncoder("3_3")
    with torch.inference_mode():
        features = encoder(torch.from_numpy(coffee / np.float32(255)).permute(2, 0, 1)[None], distance.layers)
    for name, found in zip(distance.layers, first, strict=True):
        reference = gram(features[name])[0] * FEATURE_SCALE[name] ** 2
        assert torch.allclose(found, reference, rtol=1e-3, atol=float(reference.max()) * 1e-4)
    assert distance(first, first) == 0
    assert distance(second, first) > 0.01


def test_invalid_weights_are_rejected(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    (tmp_path / "bad.safetensors").write_bytes(b"no")
    with pytest.raises(VggWeightsError, match="Cannot read"):
        GramDistance(tmp_path / "bad.safetensors")
    save_file({"conv1_1.weight": torch.zeros(1)}, tmp_path / "few.safetensors")
    with pytest.raises(VggWeightsError, match="1_1"):
        GramDistance(tmp_path / "few.safetensors")


def test_equation_6_reproduces_figure_5_of_the_paper() -> None:
    assert speed_up("512x256", 30) == pytest.approx(25, abs=5)
    assert speed_up("1920x1080", 30) == pytest.approx(22, abs=0.5)
    assert eq6(1.0, 0.0, 10, 300) == 10
    assert eq6(1.0, 1.0, 10, 300) == 1


def test_a_contact_sheet_has_a_tile_for_every_picture(tmp_path: Path, coffee: Picture) -> None:
    path = tmp_path / "sheet.png"
    write_sheet(path, ["content", "ours"], [[coffee, coffee], [coffee, None]])
    sheet = cv2.imread(str(path))
    assert sheet is not None
    assert sheet.shape[1] == 2 * 260
    assert (sheet[HEADER + 180 :, 260:] == 255).all()
    assert (sheet[HEADER + 180 :, :250] != 255).any()


COPY = "import json, shutil, sys; shutil.copy(sys.argv[1], sys.argv[3]); print(json.dumps({'seconds': 0.25}))"


def test_a_peer_is_a_command(tmp_path: Path, coffee: Picture) -> None:
    import shlex
    import sys

    content, out = tmp_path / "content.png", tmp_path / "out.png"
    cv2.imwrite(str(content), coffee)
    peer = Peer.parse(f"copy={sys.executable} -c {shlex.quote(COPY)} {{content}} {{style}} {{out}}")
    run = peer.run(content, content, out)
    assert run.seconds == 0.25
    assert run.process_seconds > 0
    assert out.read_bytes() == content.read_bytes()
    with pytest.raises(PeerError, match="no result"):
        Peer("idle", f"{sys.executable} -c pass {{content}} {{style}} {{out}}").run(content, content, out)
    with pytest.raises(PeerError, match="NAME=COMMAND"):
        Peer.parse("copy=cp {content} {out}")
