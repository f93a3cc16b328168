"""One continuous clock for all streams of a file, whatever the times of its packets.

Recordings joined end to end (a clock that jumps), single packets with a wild time, and files that start late
are read by every reader of a file in the same way, so picture, sound and subtitles stay in step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any, Final

from av.container import InputContainer
from av.format import Flags
from av.packet import Packet
from av.stream import Disposition, Stream

MAX_UNNOTICED: Final = Fraction(1, 10)
# As in ffmpeg: `dts_delta_threshold`, and the tolerance of its search for discontinuities.
MAX_GAP: Final = Fraction(10)
MAX_STEP_BACK: Final = Fraction(1, 10)
MAX_REORDERING: Final = Fraction(10)  # between the times of decoding and display
SAME_PLACE: Final = Fraction(1)  # a time within this of the expected one belongs to the same recording
MAX_HELD: Final = 500  # packets read ahead to judge one
OWN_CLOCK: Final = ("mpegts", "mpeg", "flv", "asf", "rm", "live_flv")  # gaps mean another recording
TIMED: Final = ("video", "audio")


def start_of(container: InputContainer) -> Fraction:
    """Return the time that counts as 0, in seconds on the file's clock: when picture or sound starts.

    In containers whose clock starts with the file, a start that nobody notices is kept.
    """
    starts = [
        stream.start_time * stream.time_base
        for stream in container.streams
        if stream.type in TIMED
        and not stream.disposition & Disposition.attached_pic
        and stream.start_time is not None
        and stream.time_base
    ]
    start = min(starts, default=Fraction(0))
    has_own_clock = Flags(container.format.flags) & Flags.ts_discont
    return start if has_own_clock or start > MAX_UNNOTICED else Fraction(0)


def clocked_streams(container: InputContainer) -> list[Stream]:
    """Return the streams whose packets a `PacketClock` has to see: picture, sound and subtitles."""
    return [
        stream
        for stream in container.streams
        if stream.type in (*TIMED, "subtitle") and not stream.disposition & Disposition.attached_pic
    ]


class PacketClock:
    """Makes the times of a file's packets continuous.

    Every reader of one file must pass all packets of its picture, sound and subtitles through a clock of its
    own: equal packets get equal times.

    Args:
        container: The open file.

    Attributes:
        joins: Number of places where the file's clock jumped.
        replaced: Number of single packets whose time made no sense.
    """

    def __init__(self, container: InputContainer) -> None:
        self.joins = self.replaced = 0
        names = container.format.name.split(",")
        has_own_clock = bool(Flags(container.format.flags) & Flags.ts_discont)
        self._gaps_are_joins = has_own_clock or any(name in OWN_CLOCK for name in names)
        self._shifts = [Fraction(0)]  # of each recording, in seconds
        self._recording: dict[int, int] = {}  # that each stream has reached
        self._expected: dict[int, Fraction] = {}  # when each stream goes on, in seconds
        self._held: deque[Packet[Any]] = deque()

    def repaired(self, packets: Iterable[Packet[Any]]) -> Iterator[Packet[Any]]:
        """Yield the packets with continuous times.

        Args:
            packets: As demuxed, in file order. Those without a decoding time pass unchanged.
        """
        source = iter(packets)
        while True:
            packet = self._held.popleft() if self._held else next(source, None)
            if packet is None:
                return
            if packet.dts is not None:
                self._repair(packet, source)
            yield packet

    def _repair(self, packet: Packet[Any], source: Iterator[Packet[Any]]) -> None:
        index, raw = packet.stream.index, _seconds(packet)
        if packet.stream.type not in TIMED:
            self._move(packet, self._nearest(raw))
            return
        recording = self._recording.setdefault(index, len(self._shifts) - 1)
        expected = self._expected.get(index)
        if expected is None:
            expected = self._first_place(packet, source) + self._shifts[recording]
        if self._is_jump(raw + self._shifts[recording] - expected):
            following = self._following(packet, source)
            if following is not None and abs(following + self._shifts[recording] - expected) < SAME_PLACE:
                self.replaced += 1
                self._move(packet, expected - raw)
                self._expected[index] = expected + _duration(packet)
                return
            recording = self._recording[index] = self._joined(packet, expected, source)
        self._move(packet, self._shifts[recording])
        reached = raw + self._shifts[recording] + _duration(packet)
        self._expected[index] = max(expected, reached)

    def _first_place(self, packet: Packet[Any], source: Iterator[Packet[Any]]) -> Fraction:
        """Return the time of a stream's first packet, or that of the next one if this is an earlier one."""
        raw, following = _seconds(packet), self._following(packet, source)
        is_wild = following is not None and following - raw < -MAX_STEP_BACK
        return raw if following is None or not is_wild else following - _duration(packet)

    def _is_jump(self, ahead: Fraction) -> bool:
        return ahead < -MAX_STEP_BACK or ahead > MAX_GAP

    def _joined(self, packet: Packet[Any], expected: Fraction, source: Iterator[Packet[Any]]) -> int:
        """Return the recording of a packet after a jump, in a place where no stream overlaps itself."""
        raw, recording = _seconds(packet), self._recording[packet.stream.index]
        for later in range(len(self._shifts) - 1, recording, -1):
            if abs(expected - raw - self._shifts[later]) < MAX_GAP:
                return later
        if raw + self._shifts[recording] > expected and not self._gaps_are_joins:
            return recording
        self.joins += 1
        self._shifts.append(max([expected - raw, *self._other_shifts(packet, source)]))
        return len(self._shifts) - 1

    def _other_shifts(self, packet: Packet[Any], source: Iterator[Packet[Any]]) -> Iterator[Fraction]:
        """Yield the shift with which each other stream would go on where it left off, at the same jump."""
        expected = {index: due for index, due in self._expected.items() if index != packet.stream.index}
        for ahead in self._ahead(source):
            index = ahead.stream.index
            if not expected:
                return
            if index in expected:
                due, shift = expected[index], self._shifts[self._recording[index]]
                if self._is_jump(_seconds(ahead) + shift - due):
                    yield due - _seconds(ahead)
                    del expected[index]
                else:
                    expected[index] = max(due, _seconds(ahead) + shift + _duration(ahead))

    def _following(self, packet: Packet[Any], source: Iterator[Packet[Any]]) -> Fraction | None:
        """Return the raw time of the stream's next packet; None at its end."""
        same = (_seconds(each) for each in self._ahead(source) if each.stream.index == packet.stream.index)
        return next(same, None)

    def _ahead(self, source: Iterator[Packet[Any]]) -> Iterator[Packet[Any]]:
        """Yield the timed packets that follow, and hold those that had to be read for it."""
        for place in range(MAX_HELD):
            if place == len(self._held):
                following = next(source, None)
                if following is None:
                    return
                self._held.append(following)
            if self._held[place].dts is not None:
                yield self._held[place]

    def _nearest(self, raw: Fraction) -> Fraction:
        """Return the shift that brings a subtitle closest to where picture and sound are."""
        now = max(self._expected.values(), default=Fraction(0))
        return min(reversed(self._shifts), key=lambda shift: abs(raw + shift - now))

    def _move(self, packet: Packet[Any], seconds: Fraction) -> None:
        dts = packet.dts or 0
        pts = dts if packet.pts is None else packet.pts
        if abs((pts - dts) * packet.time_base) > MAX_REORDERING:
            self.replaced += 1
            pts = dts
            packet.pts = pts
        units = round(seconds / packet.time_base)
        if units:
            packet.dts, packet.pts = dts + units, pts + units


def _seconds(packet: Packet[Any]) -> Fraction:
    return (packet.dts or 0) * packet.time_base


def _duration(packet: Packet[Any]) -> Fraction:
    if packet.duration:
        return packet.duration * packet.time_base
    rate = packet.stream.average_rate if packet.stream.type == "video" else None
    return 1 / rate if rate else Fraction(0)
