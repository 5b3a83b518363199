"""What a file says of its own origin: Content Credentials (C2PA) and the DigitalSourceType of IPTC, as XMP carries it.

Nothing that a file names is fetched: neither a manifest that lies elsewhere nor the state of a certificate. Sources:
C2PA specification 2.2, validated by c2pa-python; IPTC Photo Metadata Standard, property `DigitalSourceType`.
"""

import io
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from defusedxml.ElementTree import fromstring
from PIL import Image

from services.matching.confined import BroughtDownError, ConfinedReader
from shared.events import Disclosure
from shared.fingerprints.decode import FORMATS
from shared.ids import digest_of
from shared.logs import get_log

log = get_log()

XMP_BYTES_MAX = 1024 * 1024
NEWSCODES = "cv.iptc.org/newscodes/digitalsourcetype/"
_PROPERTY = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
_RESOURCE = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}resource"
_NAME_MAX = 100
# What any file with a manifest inside has in it, and any file with XMP: most files have neither, and cost a glance.
_JUMBF, _XMP = (b"jumb", b"JUMB"), (b"DigitalSourceType", b"XML:com.adobe.xmp")
Read = Callable[[bytes, str, dict[str, Any]], dict[str, Any]]
_STATES = {"Trusted": "trusted", "Valid": "valid", "Invalid": "broken"}


class Disclosures:
    """Reads what files disclose.

    trust_anchors: certificates (PEM) whose signatures are trusted; without any, a sound signature is `valid` at best.
    trust_list: their digest, None without any.
    read: `credentials.read_credentials`, or what stands for it; a process of its own by default.
    """

    def __init__(self, trust_anchors: str | None = None, read: Read | None = None) -> None:
        self._read = read or ConfinedReader()
        self.trust_list = digest_of(trust_anchors.encode()) if trust_anchors else None
        self._settings: dict[str, Any] = {
            "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True},
            **({"trust": {"trust_anchors": trust_anchors}} if trust_anchors else {}),
        }

    @classmethod
    def trusting(cls, file: Path | None) -> "Disclosures":
        """With the anchors of a PEM file; ValueError when it cannot be used."""
        if file is None:
            return cls()
        try:
            anchors = file.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"must be a readable file of certificates in PEM form ({error})") from error
        if "-----BEGIN CERTIFICATE-----" not in anchors:
            raise ValueError("must be a file of certificates in PEM form; it holds none")
        try:
            # The library calls every signature broken under some lists that it cannot read.
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=anchors)
        except ssl.SSLError as error:
            raise ValueError(f"must be a file of certificates in PEM form; one is damaged ({error})") from error
        return cls(anchors)

    def of(self, image: bytes) -> Disclosure:
        """What the bytes of an image file disclose; a fault of what they say is `broken`, or nothing said.

        So is a manifest that takes more than its share of time or memory. ReaderAway, a passing fault, when the
        process that reads manifests does not start.
        """
        state, source_type = self._credentials(image) if any(mark in image for mark in _JUMBF) else ("absent", None)
        xmp = _xmp_source_type(image) if any(mark in image for mark in _XMP) else None
        return Disclosure.model_validate({"c2pa": state, "c2pa_source_type": source_type, "xmp_source_type": xmp})

    def _credentials(self, image: bytes) -> tuple[str, str | None]:
        media_type = _media_type(image)
        if not media_type:
            return "absent", None
        try:
            told = self._read(image, media_type, self._settings)
        except BroughtDownError as error:
            log.warning("credentials_too_costly", media_digest=digest_of(image), error=str(error))
            return "broken", None
        if "error" in told:
            log.info("credentials_unreadable", error=told["error"])
            return ("absent" if told["elsewhere"] else "broken"), None
        if not told:
            return "absent", None
        return _STATES.get(str(told["state"]), "broken"), _name(told["source_type"])


def _media_type(image: bytes) -> str:
    """Of the file, as the library knows it; empty when no parser of ours knows the file."""
    try:
        with Image.open(io.BytesIO(image), formats=FORMATS) as picture:
            # Several pictures in one file: the library knows them by the first one's type only.
            return "image/jpeg" if picture.format == "MPO" else Image.MIME.get(picture.format or "", "")
    except Exception:  # a file that decodes is known; any other has no credentials that anybody could check
        return ""


def _xmp_source_type(image: bytes) -> str | None:
    try:
        with Image.open(io.BytesIO(image), formats=FORMATS) as picture:
            xmp = picture.info.get("xmp")
        text = xmp.encode() if isinstance(xmp, str) else xmp
        if not isinstance(text, bytes) or len(text) > XMP_BYTES_MAX:
            return None
        root = fromstring(text.rstrip(b"\0 \r\n"))
    except Exception as error:  # metadata never decides whether a picture can be read: a name of an encoding, say
        log.info("xmp_unreadable", error=f"{type(error).__name__}: {error}"[:300])
        return None
    for element in root.iter():
        told = element.attrib.get(_PROPERTY)
        if element.tag == _PROPERTY:
            told = element.attrib.get(_RESOURCE) or element.text
        if name := _name(told):
            return name
    return None


def _name(told: Any) -> str | None:
    """The term of IPTC's vocabulary; of another one what was told, shortened."""
    if not isinstance(told, str) or not told.strip():
        return None
    told = told.strip()
    term = told.split(NEWSCODES, 1)[1] if NEWSCODES in told else told
    return "".join(character for character in term if character.isprintable())[:_NAME_MAX] or None
