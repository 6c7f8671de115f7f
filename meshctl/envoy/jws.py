"""Signatures of tokens, checked with the keys of a key set (RFC 7515, 7517, 7518, 8037), in plain arithmetic.

Source of what Envoy accepts: jwt_verify_lib, ``verify.cc`` and ``jwks.cc``. Nothing here is secret, so nothing need
take the same time for all keys.
"""

import hashlib
import hmac
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Any, TypeAlias

from meshctl import json_text

Key: TypeAlias = Mapping[str, Any]

ALGORITHMS = frozenset([f"{kind}{size}" for kind in ("RS", "PS", "ES", "HS") for size in (256, 384, 512)] + ["EdDSA"])
_CURVE_OF = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}


def decoded(part: str) -> bytes | None:
    """A part of a token, None where it is no base64url (which Python itself reads leniently)."""
    part = "".join(part.split())
    text = part.rstrip("=")
    if len(part) - len(text) not in (0, -len(text) % 4):
        return None
    if not text or not all(c.isascii() and (c.isalnum() or c in "-_") for c in text):
        return None
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return None


def keys(text: str) -> list[Key] | None:
    """The keys of a key set that Envoy can use; None where the text is no key set."""
    try:
        found = json_text.loads(text)["keys"]
    except (ValueError, KeyError, TypeError):
        return None
    return [key for key in found if isinstance(key, dict) and _usable(key)] if isinstance(found, list) else None


def _usable(key: Key) -> bool:
    alg = key.get("alg", "")
    match key.get("kty"):
        case "RSA":
            return alg[:2] in ("", "RS", "PS") and _number(key, "n") is not None and _number(key, "e") is not None
        case "EC":
            crv = key.get("crv", "P-256")
            fits = alg == "" or _CURVE_OF.get(alg) == crv
            return fits and crv in _CURVES and _number(key, "x") is not None and _number(key, "y") is not None
        case "OKP":
            return alg in ("", "EdDSA") and key.get("crv") == "Ed25519" and len(_bytes(key, "x") or b"") == 32
        case "oct":
            return alg[:2] in ("", "HS") and bool(_bytes(key, "k"))
        case _:
            return False


def fitting(found: list[Key], head: Mapping[str, Any]) -> list[Key]:
    """The keys that a token may be signed with, by its ``kid`` and ``alg``."""
    kid, alg = head.get("kid"), head.get("alg")
    named = [key for key in found if not kid or not key.get("kid") or key["kid"] == kid]
    return [key for key in named if not key.get("alg") or key["alg"] == alg]


def verifies(key: Key, alg: str, signed: bytes, signature: bytes) -> bool:
    """Whether a signature over some bytes is the key's."""
    match key.get("kty"):
        case "RSA" if alg[:2] == "RS":
            return _pkcs1(key, _digest(alg), signed, signature)
        case "RSA" if alg[:2] == "PS":
            return _pss(key, _digest(alg), signed, signature)
        case "EC":
            return _ecdsa(key, _digest(alg), signed, signature)
        case "OKP":
            return _ed25519(_bytes(key, "x") or b"", signed, signature)
        case "oct":
            return hmac.digest(_bytes(key, "k") or b"", signed, _digest(alg)) == signature
        case _:
            return False


def _digest(alg: str) -> str:
    return {"384": "sha384", "512": "sha512"}.get(alg[2:], "sha256")


def _bytes(key: Key, part: str) -> bytes | None:
    found = key.get(part)
    return decoded(found) if isinstance(found, str) else None


def _number(key: Key, part: str) -> int | None:
    found = _bytes(key, part)
    return None if found is None else int.from_bytes(found, "big")


# --- RSA (RFC 8017)

# The DER prefixes of a digest in an RSASSA-PKCS1-v1_5 signature (section 9.2, note 1).
_PREFIXES = {
    "sha256": "3031300d060960864801650304020105000420",
    "sha384": "3041300d060960864801650304020205000430",
    "sha512": "3051300d060960864801650304020305000440",
}


def _opened(key: Key, signature: bytes) -> tuple[bytes, int]:
    """What a signature encodes, and the modulus' length in bits; nothing for one of the wrong length."""
    modulus, exponent = _number(key, "n") or 0, _number(key, "e") or 0
    size = (modulus.bit_length() + 7) // 8
    value = int.from_bytes(signature, "big")
    if not modulus or len(signature) != size or value >= modulus:
        return b"", 0
    return pow(value, exponent, modulus).to_bytes(size, "big"), modulus.bit_length()


def _pkcs1(key: Key, digest: str, signed: bytes, signature: bytes) -> bool:
    found, _ = _opened(key, signature)
    told = bytes.fromhex(_PREFIXES[digest]) + hashlib.new(digest, signed).digest()
    return bool(found) and found == b"\x00\x01" + b"\xff" * (len(found) - len(told) - 3) + b"\x00" + told


def _pss(key: Key, digest: str, signed: bytes, signature: bytes) -> bool:
    """Section 9.1.2, the salt of any length (BoringSSL's default)."""
    found, bits = _opened(key, signature)
    told = hashlib.new(digest, signed).digest()
    size = (bits - 1 + 7) // 8
    encoded = found[len(found) - size :]
    if not found or size < len(told) + 2 or encoded[-1] != 0xBC:
        return False
    masked, mark = encoded[: -len(told) - 1], encoded[-len(told) - 1 : -1]
    mask = b"".join(
        hashlib.new(digest, mark + count.to_bytes(4, "big")).digest() for count in range(len(masked) // len(mark) + 1)
    )
    plain = bytearray(a ^ b for a, b in zip(masked, mask, strict=False))
    plain[0] &= 0xFF >> (8 * size - (bits - 1))
    padding, found_one, salt = bytes(plain).partition(b"\x01")
    return bool(found_one) and not any(padding) and hashlib.new(digest, bytes(8) + told + salt).digest() == mark


# --- ECDSA (FIPS 186-4): prime, b, order, base point; a is -3

_CURVES = {
    "P-256": (
        0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF,
        0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
        0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
        0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
        0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
    ),
    "P-384": (
        0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFFFF0000000000000000FFFFFFFF,
        0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF,
        0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
        0xAA87CA22BE8B05378EB1C71EF320AD746E1D3B628BA79B9859F741E082542A385502F25DBF55296C3A545E3872760AB7,
        0x3617DE4A96262C6F5D9E98BF9292DC29F8F41DBD289A147CE9DA3113B5F0B8C00A60B1CE1D7E819D7A431D7C90EA0E5F,
    ),
    "P-521": (
        (1 << 521) - 1,
        int(
            "0051953EB9618E1C9A1F929A21A0B68540EEA2DA725B99B315F3B8B489918EF109E1"
            "56193951EC7E937B1652C0BD3BB1BF073573DF883D2C34F1EF451FD46B503F00", 16
        ),
        (1 << 521) - 657877501894328237357444332315020117536923257219387276263472201219398408051703,
        int(
            "00C6858E06B70404E9CD9E3ECB662395B4429C648139053FB521F828AF606B4D3DBA"
            "A14B5E77EFE75928FE1DC127A2FFA8DE3348B3C1856A429BF97E7E31C2E5BD66", 16
        ),
        int(
            "011839296A789A3BC0045C8A5FB42C7D1BD998F54449579B446817AFBD17273E662C"
            "97EE72995EF42640C550B9013FAD0761353C7086A272C24088BE94769FD16650", 16
        ),
    ),
}  # fmt: skip
Point: TypeAlias = tuple[int, int] | None


def _sum(p: int, one: Point, two: Point) -> Point:
    """The sum of two points of a short Weierstrass curve with a = -3."""
    if one is None or two is None:
        return one or two
    (x1, y1), (x2, y2) = one, two
    if x1 == x2 and (y1 + y2) % p == 0:
        return None
    slope = (3 * x1 * x1 - 3) * pow(2 * y1, -1, p) if one == two else (y2 - y1) * pow(x2 - x1, -1, p)
    x3 = (slope * slope - x1 - x2) % p
    return x3, (slope * (x1 - x3) - y1) % p


def _times(p: int, point: Point, factor: int) -> Point:
    found: Point = None
    while factor:
        found = _sum(p, found, point) if factor & 1 else found
        point, factor = _sum(p, point, point), factor >> 1
    return found


def _ecdsa(key: Key, digest: str, signed: bytes, signature: bytes) -> bool:
    p, b, n, gx, gy = _CURVES[key.get("crv", "P-256")]
    x, y = _number(key, "x") or 0, _number(key, "y") or 0
    size = len(signature) // 2
    r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
    if len(signature) % 2 or not (0 < r < n and 0 < s < n) or (y * y - (x**3 - 3 * x + b)) % p:
        return False
    told = hashlib.new(digest, signed).digest()
    number = int.from_bytes(told, "big") >> max(0, 8 * len(told) - n.bit_length())
    inverse = pow(s, -1, n)
    point = _sum(p, _times(p, (gx, gy), number * inverse % n), _times(p, (x, y), r * inverse % n))
    return point is not None and point[0] % n == r


# --- Ed25519 (RFC 8032, section 5.1), in affine coordinates

_Q = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _Q) % _Q
_ROOT = pow(2, (_Q - 1) // 4, _Q)


def _edwards_sum(one: tuple[int, int], two: tuple[int, int]) -> tuple[int, int]:
    (x1, y1), (x2, y2) = one, two
    part = _D * x1 * x2 * y1 * y2
    return (x1 * y2 + x2 * y1) * pow(1 + part, -1, _Q) % _Q, (y1 * y2 + x1 * x2) * pow(1 - part, -1, _Q) % _Q


def _edwards_times(point: tuple[int, int], factor: int) -> tuple[int, int]:
    found = (0, 1)
    while factor:
        found = _edwards_sum(found, point) if factor & 1 else found
        point, factor = _edwards_sum(point, point), factor >> 1
    return found


def _edwards_point(text: bytes) -> tuple[int, int] | None:
    number = int.from_bytes(text, "little")
    sign, y = number >> 255, number & ((1 << 255) - 1)
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _Q) % _Q
    x = pow(square, (_Q + 3) // 8, _Q)
    if (x * x - square) % _Q:
        x = x * _ROOT % _Q
    if y >= _Q or (x * x - square) % _Q or (x == 0 and sign):
        return None
    return (_Q - x if x & 1 != sign else x), y


def _ed25519(key: bytes, signed: bytes, signature: bytes) -> bool:
    if len(signature) != 64:
        return False
    public, nonce, s = _edwards_point(key), _edwards_point(signature[:32]), int.from_bytes(signature[32:], "little")
    if public is None or nonce is None or s >= _L:
        return False
    base = _edwards_point((4 * pow(5, -1, _Q) % _Q).to_bytes(32, "little"))
    assert base is not None
    told = int.from_bytes(hashlib.sha512(signature[:32] + key + signed).digest(), "little") % _L
    return _edwards_times(base, s) == _edwards_sum(nonce, _edwards_times(public, told))
