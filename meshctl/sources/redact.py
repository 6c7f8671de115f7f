"""Takes out of a recording what must not be shared: credentials always, addresses on request. Pure: text in, text out.

Two passes: by place (environment values, arguments, headers and keys whose name says that they hold a credential) and
by shape (private keys, JSON web tokens, passwords in URLs, well-known token formats) wherever they are. Secrets are
never fetched, so they are not a matter of redaction.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import field
from functools import cache
from typing import Any

from meshctl import json_text
from meshctl.frozen import dataclass
from meshctl.sources.readdress import Readdress

REDACTED = "REDACTED"

# What Istio's own containers have, and what no credential is in.
_HARMLESS = frozenset(
    {
        "AUTHZ_FAILURE_LOG_BURST_SIZE",
        "CREDENTIAL_FETCHER_TYPE",
        "CREDENTIAL_IDENTITY_PROVIDER",
        "JWT_POLICY",
        "PILOT_ENABLE_JWT_POLICY",
        "REQUIRE_3P_TOKEN",
        "SECRET_GRACE_PERIOD_RATIO",
        "SECRET_GRACE_PERIOD_RATIO_JITTER",
        "SECRET_TTL",
        "SKIP_PARSE_TOKEN",
        "TOKEN_AUDIENCES",
        "USE_TOKEN_FOR_CSR",
        "USE_TOKEN_FOR_XDS",
        "XDS_AUTH",
        "XDS_AUTH_PLAINTEXT",
        "XDS_AUTH_PROVIDER",
    }
)


@cache
def _secret_name() -> re.Pattern[str]:
    return re.compile(
        r"passw|passphrase|(?<![a-z])pwd|secret|token|api[-_.]?key|access[-_.]?key|private[-_.]?key|encryption[-_.]?key"
        r"|credential|connection[-_.]?string|(?<![a-z])dsn(?![a-z])|(?<![a-z])(?:auth|authorization)(?![a-z])"
        r"|(?<![a-z])cookie|signing[-_.]?key|client[-_.]?key",
        re.IGNORECASE,
    )


@cache
def _shapes() -> tuple[tuple[str, re.Pattern[str], str], ...]:
    return (
        (
            "private key",
            re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
            REDACTED,
        ),
        ("token", re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"), REDACTED),
        (
            "token",
            re.compile(
                r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|glpat-[A-Za-z0-9_-]{15,}|xox[abpors]-[A-Za-z0-9-]{10,}"
                r"|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{30,}|sk-[A-Za-z0-9_-]{20,}|hvs\.[A-Za-z0-9_-]{20,})"
            ),
            REDACTED,
        ),
        (
            "password in a URL",
            re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s/:@\"']*:)[^\s/@\"']+(?=@)", re.I),
            rf"\1{REDACTED}",
        ),
        ("token", re.compile(r"\b((?:Bearer|Basic)\s+)[A-Za-z0-9+/=_.~-]{8,}", re.I), rf"\1{REDACTED}"),
        (
            "argument",
            re.compile(
                r"(--?[A-Za-z0-9-]*(?:password|passwd|secret|token|api-?key|credentials?)=)(?!/)[^\s\"',]+", re.I
            ),
            rf"\1{REDACTED}",
        ),
    )


@dataclass(slots=True)
class Redactor:
    """Redacts one recording; `counts` says how much of which kind was taken out. Not shared between threads."""

    addresses: Readdress | None = None
    counts: Counter[str] = field(default_factory=Counter)

    def text(self, text: str) -> str:
        """Any text: by shape, and its addresses where that was asked for."""
        for kind, shape, instead in _shapes():
            text, found = shape.subn(instead, text)
            if found:
                self.counts[kind] += found
        if self.addresses is not None:
            text, changed = self.addresses.text(text)
            self.counts["address"] += changed
        return text

    def content(self, content: bytes, name: str) -> bytes:
        """A part: JSON by place and shape, other text by shape; bytes that are no text stay out altogether."""
        text = content.decode("utf-8", "replace")
        if name.endswith(".json"):
            try:
                document = json_text.loads(text)
            except ValueError:
                return self.text(text).encode()
            return (json.dumps(self.value(document), indent=1, ensure_ascii=False) + "\n").encode()
        return self.text(text).encode()

    def value(self, value: Any) -> Any:
        """A JSON value, copied."""
        match value:
            case str():
                return self._string(value)
            case Mapping():
                return self._mapping(value)
            case Sequence():
                return self._list(value)
            case _:
                return value

    def _string(self, text: str) -> str:
        if text.startswith("{") and '"' in text:
            # An annotation such as last-applied-configuration holds a whole object once more.
            try:
                document = json_text.loads(text)
            except ValueError:
                return self.text(text)
            redacted = self.value(document)
            return text if redacted == document else json.dumps(redacted, ensure_ascii=False, separators=(",", ":"))
        return self.text(text)

    def _mapping(self, mapping: Mapping[str, Any]) -> dict[str, Any]:
        name = mapping.get("name", mapping.get("key", mapping.get("header_name")))
        found: dict[str, Any] = {}
        for key, value in mapping.items():
            if key == "value" and isinstance(name, str) and isinstance(value, str) and self._hides(name, value):
                self.counts["value of a credential's name"] += 1
                found[key] = REDACTED
            elif self._is_key_material(key, value, mapping) and (blanked := self._blanked(value)) != value:
                self.counts["key material"] += 1
                found[key] = blanked
            else:
                found[self.text(key) if self.addresses else key] = self.value(value)
        return found

    def _hides(self, name: str, value: str) -> bool:
        return bool(value) and name not in _HARMLESS and bool(_secret_name().search(name))

    @staticmethod
    def _is_key_material(key: str, value: Any, mapping: Mapping[str, Any]) -> bool:
        if key in (
            "private_key",
            "session_ticket_keys",
            "private_key_provider",
            "generic_secret",
            "password",
            "hmac_secret",
        ):
            return bool(value)
        # RFC 7517/7518: the private members of a JSON web key; `k` is a symmetric one.
        return key in ("d", "k", "p", "q", "dp", "dq", "qi") and "kty" in mapping and isinstance(value, str)

    def _blanked(self, value: Any) -> Any:
        """The same shape without its texts; what Envoy blanked itself ("[redacted]", also in base64) stays."""
        if isinstance(value, Mapping):
            return {key: self._blanked(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._blanked(inner) for inner in value]
        return value if value in ("[redacted]", "W3JlZGFjdGVkXQ==") else REDACTED

    def _list(self, values: Sequence[Any]) -> list[Any]:
        found: list[Any] = []
        follows_secret_flag = False
        for value in values:
            if isinstance(value, str):
                found.append(self._word(value, follows_secret_flag))
                follows_secret_flag = value.startswith("-") and "=" not in value and self._is_secret_flag(value)
            else:
                found.append(self.value(value))
                follows_secret_flag = False
        return found

    @staticmethod
    def _is_secret_flag(word: str) -> bool:
        return bool(re.search(r"(?:password|passwd|passphrase|secret|token|api-?key|credentials?)$", word, re.I))

    def _word(self, word: str, follows_secret_flag: bool) -> str:
        """An argument, or a NAME=VALUE of an environment."""
        if follows_secret_flag and not word.startswith(("-", "/")):
            self.counts["argument"] += 1
            return REDACTED
        name, equals, value = word.partition("=")
        if equals and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", name) and self._hides(name, value):
            self.counts["value of a credential's name"] += 1
            return f"{name}={REDACTED}"
        return self._string(word)
