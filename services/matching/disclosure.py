"""What a file says of its own origin: Content Credentials (C2PA) and the DigitalSourceType of IPTC, as XMP carries it.

Nothing that a file names is fetched: neither a manifest that lies elsewhere nor the state of a certificate. Sources:
C2PA specification 2.2, validated by c2pa-python; IPTC Photo Metadata Standard, property `DigitalSourceType`.
"""

import io
import json
from pathlib import Path
from typing import Any

import c2pa
from defusedxml.ElementTree import fromstring
from PIL import Image

from shared.events import Disclosure
from shared.logs import get_log

log = get_log()

XMP_BYTES_MAX = 1024 * 1024
NEWSCODES = "cv.iptc.org/newscodes/digitalsourcetype/"
_PROPERTY = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
_RESOURCE = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}resource"
_NAME_MAX = 100
# What any file with a manifest inside has in it, and any file with XMP: most files have neither, and cost a glance.
_JUMBF, _XMP = (b"jumb", b"JUMB"), (b"DigitalSourceType", b"XML:com.adobe.xmp")
_STATES = {"Trusted": "trusted", "Valid": "valid", "Invalid": "broken"}


class Disclosures:
    """Reads what files disclose.

    trust_anchors: certificates (PEM) whose signatures are trusted; without any, a sound signature is `valid` at best.
    """

    def __init__(self, trust_anchors: str | None = None) -> None:
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
        return cls(anchors)

    def of(self, image: bytes) -> Disclosure:
        """What the bytes of an image file disclose; a fault of what they say is `broken`, or nothing said."""
        state, source_type = self._credentials(image) if any(mark in image for mark in _JUMBF) else ("absent", None)
        xmp = _xmp_source_type(image) if any(mark in image for mark in _XMP) else None
        return Disclosure.model_validate({"c2pa": state, "c2pa_source_type": source_type, "xmp_source_type": xmp})

    def _credentials(self, image: bytes) -> tuple[str, str | None]:
        try:
            context = c2pa.Context(settings=c2pa.Settings.from_dict(self._settings))
            reader = c2pa.Reader.try_create(_media_type(image), io.BytesIO(image), None, context)
            if reader is None:
                return "absent", None
            with reader:
                state = _STATES.get(str(reader.get_validation_state()), "broken")
                return state, _source_type(json.loads(reader.json()))
        except Exception as error:  # whatever a stranger's file provokes in the library decides about this field alone
            # A manifest elsewhere is none that anybody could check, and a format without manifests has none.
            elsewhere = str(error).startswith(("Remote", "NotSupported"))
            log.info("credentials_unreadable", error=f"{type(error).__name__}: {error}"[:300])
            return ("absent" if elsewhere else "broken"), None


def _media_type(image: bytes) -> str:
    with Image.open(io.BytesIO(image)) as picture:
        # Several pictures in one file: the library knows them by the first one's type only.
        return "image/jpeg" if picture.format == "MPO" else Image.MIME.get(picture.format or "", "")


def _source_type(store: dict[str, Any]) -> str | None:
    """The digitalSourceType of the actions in the active manifest: of the first that has one."""
    manifest = store["manifests"][store["active_manifest"]]
    for assertion in manifest.get("assertions", ()):
        if str(assertion.get("label", "")).startswith("c2pa.actions"):
            for action in assertion["data"].get("actions", ()):
                if name := _name(action.get("digitalSourceType")):
                    return name
    return None


def _xmp_source_type(image: bytes) -> str | None:
    try:
        with Image.open(io.BytesIO(image)) as picture:
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
