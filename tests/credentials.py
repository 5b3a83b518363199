"""Files with Content Credentials and with XMP, signed by a throwaway authority that is made at run time."""

import io
from datetime import UTC, datetime, timedelta
from functools import cache

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image
from PIL.PngImagePlugin import PngInfo

AI = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" {}</rdf:RDF></x:xmpmeta>'
)


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


def signed(form: str = "JPEG", *, elsewhere: str | None = None, file: bytes | None = None) -> bytes:
    """A file with Content Credentials; with `elsewhere` they lie at that address, and the file only names it."""
    who = signatory()
    actions = {"actions": [{"action": "c2pa.created", "digitalSourceType": AI}]}
    about = {"claim_generator_info": [{"name": "test", "version": "1"}], "title": "picture"}
    builder = c2pa.Builder({**about, "assertions": [{"label": "c2pa.actions", "data": actions}]})
    if elsewhere is not None:
        builder.set_remote_url(elsewhere)
        builder.set_no_embed()
    signer = c2pa.Signer.from_callback(who.sign, c2pa.C2paSigningAlg.ES256, who.leaf + who.root, None)
    made = io.BytesIO()
    builder.sign(signer, f"image/{form.lower()}", io.BytesIO(file or saved(form)), made)
    return made.getvalue()


def with_xmp(form: str, packet: bytes) -> bytes:
    """A file with this packet where the format has its place."""
    if form == "TIFF":
        return saved(form, tiffinfo={700: packet})
    if form == "PNG":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", packet.decode(), zip=True)
        return saved(form, pnginfo=info)
    return saved(form, xmp=packet)
