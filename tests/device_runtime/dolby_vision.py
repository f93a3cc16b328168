"""Dolby Vision 8 (ETSI GS CCM 001): an HEVC stream with a reference processing unit after each picture."""

from __future__ import annotations

import re
from pathlib import Path

RPU_NAL = b"\x7c\x01"  # type 62


def with_dolby_vision(hevc: Path, out: Path) -> Path:
    """Add RPUs that change nothing to a raw HEVC stream (.hevc)."""
    stream = b""
    for unit in re.split(b"\x00\x00\x00\x01|\x00\x00\x01", hevc.read_bytes())[1:]:
        stream += b"\0\0\0\1" + unit
        is_picture = unit[0] >> 1 & 63 < 32
        stream += b"\0\0\0\1" + RPU_NAL + _escaped(_rpu()) if is_picture else b""
    out.write_bytes(stream)
    return out


def _rpu() -> bytes:
    """Return an RPU of profile 8 that maps each component to itself."""
    bits = f"{25:08b}" + f"{2:06b}" + f"{0:011b}" + f"{1:04b}" + f"{0:04b}"  # prefix to level
    bits += "1" + "0" + "00" + _ue(23) + "01" + "0"  # sequence info, fixed coefficients of 23 bits
    bits += _ue(2) + _ue(2) + _ue(4) + "0" + "000" + "0" + "1"  # depths of 10, 10 and 12; no residual
    bits += "0" + "0" + _ue(0) + _ue(0) + _ue(0)  # no display metadata, own mapping
    for _ in range(3):
        bits += _ue(0) + f"{0:010b}" + f"{1023:010b}"  # two pivots
    bits += _ue(0) + _ue(0)  # one partition
    for _ in range(3):
        bits += _ue(0) + _ue(0) + "0"  # polynomial of order 1
        bits += _se(0) + f"{0:023b}" + _se(1) + f"{0:023b}"  # 0 + 1·x
    bits += "0" * (-len(bits) % 8)
    body = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return body + _crc(body[1:]).to_bytes(4, "big") + b"\x80"


def _ue(value: int) -> str:
    """Return an unsigned Exp-Golomb code."""
    code = f"{value + 1:b}"
    return "0" * (len(code) - 1) + code


def _se(value: int) -> str:
    """Return a signed Exp-Golomb code."""
    return _ue(2 * value - 1 if value > 0 else -2 * value)


def _crc(data: bytes) -> int:
    """Return the CRC-32 of MPEG-2."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1) & 0xFFFFFFFF
    return crc


def _escaped(data: bytes) -> bytes:
    """Add the bytes that keep start codes out of a NAL unit."""
    out = b""
    for byte in data:
        out += b"\x03" if out.endswith(b"\0\0") and byte <= 3 else b""
        out += bytes([byte])
    return out
