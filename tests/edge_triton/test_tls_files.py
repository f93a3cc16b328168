"""TLS files that cannot be used are named; one that ends soon is logged."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_triton.tls_files import TlsFileError, check_tls_files
from tests.edge_triton.pems import Pems, make_pems


def test_good_files_pass_in_silence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pems = make_pems(tmp_path, end_h=24 * 300)
    check_tls_files(pems.cert, pems.key, pems.ca)
    assert caplog.text == ""


def test_a_key_of_another_certificate_is_named(pems: Pems) -> None:
    with pytest.raises(TlsFileError, match=r"server\.crt and .*client\.key cannot be used together"):
        check_tls_files(pems.cert, pems.client_key, None)


@pytest.mark.parametrize(
    "content", ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_damaged_files_are_named(pems: Pems, tmp_path: Path, content: str) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text(content)
    for files in ((bad, pems.key, None), (pems.cert, bad, None), (pems.cert, pems.key, bad)):
        with pytest.raises(TlsFileError, match=r"bad\.pem"):
            check_tls_files(*files)
    with pytest.raises(TlsFileError, match="nothing"):
        check_tls_files(pems.cert, tmp_path / "nothing", None)


@pytest.mark.parametrize(
    ("begin_h", "end_h", "text"),
    [(-9, -1, "has expired"), (-9, 30, "expires in 1.2 days"), (-9, 24 * 90, "")],
)
def test_expiry_is_logged(
    tmp_path: Path, begin_h: float, end_h: float, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    pems = make_pems(tmp_path, begin_h, end_h)
    check_tls_files(pems.cert, pems.key, None)
    assert text in caplog.text
    assert bool(text) == bool(caplog.text)
