"""Table 5 with short round trips: payload sizes, measurements and tables."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks import table5
from benchmarks.data import footage
from benchmarks.data.models import shipped
from benchmarks.harness.registry import Budget
from benchmarks.harness.result import find
from edge_triton.client.jpeg import encode_jpeg

NEAR = {"New York": 0.002, "Hong Kong": 0.05}


@pytest.fixture(scope="module")
def sizes() -> table5.Sizes:
    return table5.wire_sizes(shipped()[0], "512x256", threads=2)


@pytest.fixture(scope="module")
def document(sizes: table5.Sizes) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table5, "PLACES", NEAR)
        patch.setattr(table5, "wire_sizes", lambda *_: sizes)
        result = table5.run(Budget(quick=True), lambda _: None, emulator="proxy", resolutions=["512x256"])
        document = json.loads(json.dumps(result.document({})))
        document["tables"] = table5.tables(document)
    return document


def test_payload_sizes_match_the_encoders(sizes: table5.Sizes) -> None:
    assert sizes["image"][0] == len(encode_jpeg(footage.photo(512, 256), 90))
    assert sizes["map"][0] <= 50_000  # DESIGN section 7: bytes per key frame in map mode
    assert sizes["map"][1] <= 30_000
    assert sizes["map"][1] < sizes["image"][1]


def test_every_case_is_measured(document: Any) -> None:
    assert len(document["results"]) == len(NEAR) * 2 * 2 * 2  # replies, windows, connections
    for row in document["results"]:
        round_trip = NEAR[row["case"]["place"]]
        figures = row["figures"]
        assert figures["up_seconds"]["min"] >= round_trip / 2
        assert figures["there_and_back_seconds"]["min"] >= round_trip
        assert figures["there_and_back_seconds"]["median"] > figures["up_seconds"]["median"]


def test_the_papers_figure_is_only_compared_with_images(document: Any) -> None:
    case = {"place": "Hong Kong", "window": "64 KB", "connection": "warm"}
    image, small = (find(document, **case, reply=reply) for reply in ("image", "map"))
    assert image is not None
    assert small is not None
    assert image["paper_seconds"] == 0.088
    assert image["of_paper"]["median"] == pytest.approx(image["up_seconds"]["median"] / 0.088)
    assert "paper_seconds" not in small
    new_york = find(document, **{**case, "place": "New York"}, reply="image")
    assert new_york is not None
    assert image["of_edge"] == pytest.approx(image["up_seconds"]["median"] / new_york["up_seconds"]["median"])
    assert "of_edge" not in new_york


def test_notes_and_tables_state_that_the_network_is_emulated(document: Any) -> None:
    assert "Emulated" in document["notes"][0]
    assert all("emulated" in table.caption for table in document["tables"])
    assert document["tables"][0].rows[0][:2] == ["512x256", "64 KB"]
