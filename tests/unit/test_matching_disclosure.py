"""What a file discloses of its origin: every file here is made and signed by the test."""

import io
import socket
from datetime import UTC, datetime, timedelta
from functools import cache

import c2pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from services.matching.disclosure import XMP_BYTES_MAX, Disclosures
from shared.events import Disclosure

AI = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" {}</rdf:RDF></x:xmpmeta>'
)
SAYS_NOTHING = Disclosure(c2pa="absent")


def picture() -> Image.Image:
    return Image.effect_noise((160, 120), 60).convert("RGB")


def saved(form: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture().save(file, form, **options)
    return file.getvalue()


def named(name: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "A test"), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )


class Signatory:
    """A certificate authority of one signer."""

    def __init__(self) -> None:
        self.root_key, self.key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        root_id = x509.SubjectKeyIdentifier.from_public_key(self.root_key.public_key())
        self.root = self._certificate(
            "Root",
            self.root_key,
            (x509.BasicConstraints(True, None), True),
            (self._usage(signs=False), True),
            (root_id, False),
        )
        self.leaf = self._certificate(
            "Signer",
            self.key,
            (x509.BasicConstraints(False, None), True),
            (self._usage(signs=True), True),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False),
            (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(root_id), False),
            (x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), False),
        )

    def _usage(self, *, signs: bool) -> x509.KeyUsage:
        return x509.KeyUsage(signs, False, False, False, False, not signs, not signs, False, False)

    def _certificate(
        self, name: str, key: ec.EllipticCurvePrivateKey, *extensions: tuple[x509.ExtensionType, bool]
    ) -> str:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named("Root"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=30))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        made = builder.sign(self.root_key, hashes.SHA256())
        return made.public_bytes(serialization.Encoding.PEM).decode()

    def sign(self, data: bytes) -> bytes:
        r, s = decode_dss_signature(self.key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


@cache
def signatory() -> Signatory:
    return Signatory()


def signed(form: str = "JPEG", *, elsewhere: str | None = None) -> bytes:
    """A file with Content Credentials; with `elsewhere` they lie at that address, and the file only names it."""
    who = signatory()
    actions = {"actions": [{"action": "c2pa.created", "digitalSourceType": AI}]}
    about = {"claim_generator_info": [{"name": "test", "version": "1"}], "title": "picture"}
    builder = c2pa.Builder({**about, "assertions": [{"label": "c2pa.actions", "data": actions}]})
    if elsewhere is not None:
        builder.set_remote_url(elsewhere)
        builder.set_no_embed()
    signer = c2pa.Signer.from_callback(who.sign, c2pa.C2paSigningAlg.ES256, who.leaf + who.root, None)
    file = io.BytesIO()
    builder.sign(signer, f"image/{form.lower()}", io.BytesIO(saved(form)), file)
    return file.getvalue()


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
    packet = XMP.format(told).encode()
    if form == "TIFF":
        file = saved(form, tiffinfo={700: packet})
    elif form == "PNG":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", packet.decode(), zip=True)
        file = saved(form, pnginfo=info)
    else:
        file = saved(form, xmp=packet)
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
    file.write_text(signatory().root)
    assert Disclosures.trusting(file).of(signed()).c2pa == "trusted"
