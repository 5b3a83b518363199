"""Fingerprints: a picture decoded once, small and grey, and what is kept of it. Used by registry and matching."""

from shared.fingerprints.decode import Picture, Undecodable, decode
from shared.fingerprints.fingerprint import (
    ALGORITHM,
    Fingerprint,
    QueryFingerprint,
    TooPlain,
    fingerprint_query,
    fingerprint_reference,
)
from shared.fingerprints.same import is_same_picture, turns_of

__all__ = [
    "ALGORITHM",
    "Fingerprint",
    "Picture",
    "QueryFingerprint",
    "TooPlain",
    "Undecodable",
    "decode",
    "fingerprint_query",
    "fingerprint_reference",
    "is_same_picture",
    "turns_of",
]
