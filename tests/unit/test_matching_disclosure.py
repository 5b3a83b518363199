"""What a file discloses of its origin: every file here is made and signed by the test."""

import errno
import gc
import os
import signal
import socket
import time
import zlib
from pathlib import Path

import pytest
from PIL import Image
from structlog.testing import capture_logs

from services.matching import confined
from services.matching.confined import ConfinedReader, ReaderAway
from services.matching.disclosure import XMP_BYTES_MAX, Disclosures
from shared.events import Disclosure
from shared.kafka.passing import PASSING_FAULTS
from tests.credentials import AI, XMP, Signatory, saved, signatory, signed, with_xmp

SAYS_NOTHING = Disclosure(c2pa="absent")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_sound_signature_of_a_stranger_is_valid_and_not_trusted(form: str) -> None:
    told = Disclosures().of(signed(form))
    assert (told.c2pa, told.c2pa_source_type) == ("valid", "trainedAlgorithmicMedia")


def test_a_signature_is_trusted_when_an_anchor_says_so() -> None:
    assert Disclosures(signatory().root).of(signed()).c2pa == "trusted"
    assert Disclosures(Signatory().root).of(signed()).c2pa == "valid"


def test_a_picture_that_was_changed_after_signing_is_broken() -> None:
    file = bytearray(signed())
    file[-200] ^= 0xFF
    assert Disclosures(signatory().root).of(bytes(file)).c2pa == "broken"


def test_a_manifest_that_was_changed_after_signing_is_broken() -> None:
    assert Disclosures(signatory().root).of(signed().replace(b"trainedAlgo", b"trainedAlgx")).c2pa == "broken"


def test_a_manifest_with_a_hole_is_broken_and_no_error() -> None:
    file = signed()
    start = file.index(b"c2pa.signature")
    assert Disclosures().of(file[: start + 40] + b"\xff" * 40 + file[start + 80 :]).c2pa == "broken"


def test_what_a_file_names_is_never_fetched() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        file = signed(elsewhere=f"http://127.0.0.1:{server.getsockname()[1]}/manifest.c2pa")
        assert b"manifest.c2pa" in file
        # The mark of an embedded one, so that the library is asked at all.
        file = file[:2] + b"\xff\xfe\x00\x06jumb" + file[2:]
        assert Disclosures().of(file).c2pa == "absent"
        server.settimeout(1.0)
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize(
    "told",
    [
        f'e:DigitalSourceType="{AI}"/>',
        f"><e:DigitalSourceType>{AI}</e:DigitalSourceType></rdf:Description>",
        f'><e:DigitalSourceType rdf:resource="{AI}"/></rdf:Description>',
    ],
)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_source_type_is_read_from_xmp(form: str, told: str) -> None:
    file = with_xmp(form, XMP.format(told).encode())
    assert Disclosures().of(file) == Disclosure(c2pa="absent", xmp_source_type="trainedAlgorithmicMedia")


def test_a_term_of_another_vocabulary_is_told_shortened_as_it_is() -> None:
    packet = XMP.format('e:DigitalSourceType="drawn by hand' + "!" * 500 + '"/>').encode()
    told = Disclosures().of(saved("JPEG", xmp=packet)).xmp_source_type
    assert told == "drawn by hand" + "!" * 87


@pytest.mark.parametrize(
    "packet",
    [
        b"<DigitalSourceType",
        b"\xff\xfe DigitalSourceType",
        b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "DigitalSourceType"><!ENTITY b "&a;&a;">]><x>&b;</x>',
        b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]><DigitalSourceType>&a;</DigitalSourceType>',
        XMP.format('e:DigitalSourceType="  "/>').encode(),
        b'<?xml version="1.0" encoding="nobody"?><DigitalSourceType/>',
    ],
    ids=["cut off", "no text", "entities", "outside entity", "empty", "unknown encoding"],
)
def test_hostile_or_broken_xmp_says_nothing(packet: bytes) -> None:
    assert Disclosures().of(saved("JPEG", xmp=packet)) == SAYS_NOTHING


def test_a_giant_packet_is_not_read() -> None:
    packet = XMP.format(f'e:DigitalSourceType="{AI}"/>' + " " * XMP_BYTES_MAX).encode()
    assert Disclosures().of(saved("WEBP", xmp=packet)) == SAYS_NOTHING


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP"])
def test_most_files_say_nothing(form: str) -> None:
    assert Disclosures().of(saved(form)) == SAYS_NOTHING


@pytest.mark.parametrize("data", [b"", b"jumb", b"DigitalSourceType", b"c2pa jumb DigitalSourceType"])
def test_what_is_no_picture_is_no_error(data: bytes) -> None:
    assert Disclosures().of(data).xmp_source_type is None


def test_anchors_that_cannot_be_used_are_refused_with_the_reason(tmp_path) -> None:
    file = tmp_path / "anchors.pem"
    with pytest.raises(ValueError, match="readable file of certificates"):
        Disclosures.trusting(file)
    file.write_text("nothing")
    with pytest.raises(ValueError, match="holds none"):
        Disclosures.trusting(file)
    root = signatory().root
    damaged = "-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n"
    for text in (damaged, root + damaged, damaged + root, root + root[:200]):
        file.write_text(text)
        with pytest.raises(ValueError, match="one is damaged"):
            Disclosures.trusting(file)
    file.write_text("# ours\n" + root)
    assert Disclosures.trusting(file).of(signed()).c2pa == "trusted"


def with_actions(file: bytes, actions: int) -> bytes:
    """A signed PNG whose manifest lists so many actions: none signed, all well formed."""
    start = file.index(b"caBX")
    size = int.from_bytes(file[start - 4 : start], "big")
    cbor = b"\xa1\x67actions\x9a" + actions.to_bytes(4, "big") + b"\xa1\x66action\x6cc2pa.created" * actions
    store = rewritten(file[start + 4 : start + 4 + size], cbor)
    chunk = b"caBX" + store
    crc = zlib.crc32(chunk).to_bytes(4, "big")
    return file[: start - 4] + len(store).to_bytes(4, "big") + chunk + crc + file[start + 4 + size + 4 :]


def rewritten(boxes: bytes, cbor: bytes, *, inside: bool = False) -> bytes:
    """JUMBF boxes with another content of the actions, and the sizes of all boxes around it."""
    made, place = b"", 0
    while place < len(boxes):
        size, kind = int.from_bytes(boxes[place : place + 4], "big"), boxes[place + 4 : place + 8]
        content = boxes[place + 8 : place + size]
        place += size
        if kind == b"jumb":
            content = rewritten(content, cbor, inside=b"c2pa.actions" in content[:80])
        elif kind == b"cbor" and inside:
            content = cbor
        made += (8 + len(content)).to_bytes(4, "big") + kind + content
    return made


def test_a_manifest_that_takes_too_long_is_broken_and_the_next_file_is_read() -> None:
    asked, file = Disclosures(), signed("PNG")
    assert asked.of(with_actions(file, 3)).c2pa == "broken"
    start = time.monotonic()
    with capture_logs() as logs:
        assert asked.of(with_actions(file, 1_000_000)).c2pa == "broken"
        # It is stopped by the processor time that it may take; the belt is far above.
        assert time.monotonic() - start < confined.ANSWER_S_MAX / 2
        assert asked.of(file).c2pa == "valid"
    assert [line["event"] for line in logs] == ["credentials_too_costly"]


def test_a_reader_that_hangs_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confined, "ANSWER_S_MAX", 3.0)
    asked, read = Disclosures(read=(reader := ConfinedReader())), signed()
    assert asked.of(read).c2pa == "valid"
    assert reader.pid is not None
    os.kill(reader.pid, signal.SIGSTOP)
    assert asked.of(read).c2pa == "broken"
    assert asked.of(read).c2pa == "valid"


def test_a_reader_that_was_killed_from_outside_breaks_no_file() -> None:
    """As by a machine that is out of memory: most likely between two files."""
    asked, read = Disclosures(read=(reader := ConfinedReader())), signed()
    for _ in range(2):
        assert asked.of(read).c2pa == "valid"
        assert reader.pid is not None
        os.kill(reader.pid, signal.SIGKILL)


def test_a_file_with_which_every_reader_is_killed_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts, script = tmp_path / "starts", tmp_path / "reader.py"
    script.write_text(
        "import os, signal, sys\n"
        "from multiprocessing.connection import Connection\n"
        "end = Connection(int(sys.argv[1]))\n"
        f"open({str(starts)!r}, 'a').write('.')\n"
        "end.send_bytes(b'ready')\n"
        "end.recv_bytes()\n"
        "end.recv_bytes()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    monkeypatch.setattr(confined.credentials, "__file__", str(script))
    assert Disclosures().of(signed()).c2pa == "broken"
    assert starts.read_text() == ".."


def test_the_reader_is_given_none_of_our_environment_and_ends_with_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINTALLY_SECRET_KEY", "a secret")
    asked = Disclosures(read=(reader := ConfinedReader()))
    asked.of(signed())
    process = Path(f"/proc/{reader.pid}")
    assert b"TWINTALLY" not in (process / "environ").read_bytes()
    del asked, reader
    gc.collect()
    assert not process.exists()


def test_a_reader_that_cannot_be_started_is_a_passing_fault_and_no_fault_of_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(confined.sys, "executable", "/nowhere/python")
    with pytest.raises(ReaderAway, match="does not start"):
        Disclosures().of(signed())
    monkeypatch.setattr(confined.sys, "executable", "/bin/false")
    with pytest.raises(PASSING_FAULTS, match="ended with 1 at its start"):
        Disclosures().of(signed())

    def no_pipe() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(confined, "Pipe", no_pipe)
    with pytest.raises(ReaderAway, match="Too many open files"):
        Disclosures().of(signed())


def test_only_parsers_that_decode_ever_meet_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    met: list[bytes] = []
    monkeypatch.setitem(Image.OPEN, "OTHER", (Image.Image, lambda start: bool(met.append(start))))
    monkeypatch.setattr(Image, "ID", [*Image.ID, "OTHER"])
    assert Disclosures().of(b"%OTHER jumb DigitalSourceType") == SAYS_NOTHING
    assert met == []
