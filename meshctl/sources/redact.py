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
from typing import Any

from meshctl import json_text
from meshctl.frozen import dataclass
from meshctl.sources import secret_shapes
from meshctl.sources.readdress import Readdress
from meshctl.sources.secret_shapes import KEY_MATERIAL, USER_FLAGS, names_secret
from meshctl.withheld import REDACTED

_LOGIN = re.compile(r"((?<![\w-])(?:-[uU]|--user|--proxy-user)(?:[ \t]+|=)[\"']?)([^\s:\"'/]+:[^\s\"']+)")
_PATTERN = "[(.^*?"
"""A value that begins so is a pattern (of a route, of a policy), and no credential."""


@dataclass(slots=True)
class Redactor:
    """Redacts one recording; `counts` says how much of which kind was taken out. Not shared between threads."""

    addresses: Readdress | None = None
    counts: Counter[str] = field(default_factory=Counter)

    def text(self, text: str) -> str:
        """Any text: by shape, and its addresses where that was asked for."""
        for kind, shape, instead in secret_shapes.shapes():
            text, found = shape.subn(instead, text)
            if found:
                self.counts[kind] += found
        if "=" in text or "--" in text:
            text = secret_shapes.assignments().sub(self._assigned, text)
        if "-u" in text or "user" in text:
            text = _LOGIN.sub(self._login, text)
        if self.addresses is not None:
            text, changed = self.addresses.text(text)
            self.counts["address"] += changed
        return text

    def _assigned(self, found: re.Match[str]) -> str:
        before, name, flag, value = found.groups()
        called, bare = flag or name, value.strip("\"'")
        hidden = secret_shapes.is_secret_value(bare) and REDACTED not in bare and bare[0] not in _PATTERN
        if not hidden or not secret_shapes.names_value(called):
            return found[0]
        self.counts["argument" if called[0] == "-" else "value of a credential's name"] += 1
        return f"{before}{value.replace(bare, REDACTED)}"

    def _login(self, found: re.Match[str]) -> str:
        hidden = secret_shapes.hidden_login(found[2])
        self.counts["password of a login"] += hidden is not None
        return found[0] if hidden is None else f"{found[1]}{hidden}"

    def content(self, content: bytes, name: str) -> bytes:
        """A part: JSON by place and shape, other text by shape; bytes that are no text stay out altogether."""
        text = content.decode("utf-8", "replace")
        if name.endswith(".json"):
            try:
                redacted = self.value(json_text.loads(text))
                return (json.dumps(redacted, indent=1, ensure_ascii=False) + "\n").encode()
            except (ValueError, RecursionError):  # what is parsed may still be too deep to be gone through
                return self.text(text).encode()
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
            if key == "annotations" and isinstance(value, Mapping):
                value = {k: self._annotation(k, v) for k, v in value.items()}
            if key == "value" and isinstance(name, str) and isinstance(value, str) and self._hides(name, value):
                self.counts["value of a credential's name"] += 1
                found[key] = REDACTED
            elif self._is_key_material(key, value, mapping) and (blanked := self._blanked(value)) != value:
                self.counts["key material"] += 1
                found[key] = blanked
            else:
                found[self.text(key) if self.addresses else key] = self.value(value)
        return found

    def _annotation(self, key: str, value: Any) -> Any:
        if not isinstance(value, str) or not secret_shapes.is_secret_annotation(key, value):
            return value
        self.counts["annotation"] += 1
        return REDACTED

    def _hides(self, name: str, value: str) -> bool:
        return bool(value) and names_secret(name)

    @staticmethod
    def _is_key_material(key: str, value: Any, mapping: Mapping[str, Any]) -> bool:
        if key in KEY_MATERIAL:
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
        before = ""
        for value in values:
            found.append(self._word(value, before) if isinstance(value, str) else self.value(value))
            before = value if isinstance(value, str) and "=" not in value else ""
        return found

    def _word(self, word: str, before: str) -> str:
        """An argument after the one `before` it, or a NAME=VALUE of an environment."""
        if secret_shapes.is_secret_flag(before) and not word.startswith("-") and secret_shapes.is_secret_value(word):
            self.counts["argument"] += 1
            return REDACTED
        if before in USER_FLAGS and (login := secret_shapes.hidden_login(word)) is not None:
            self.counts["password of a login"] += 1
            return login
        name, equals, value = word.partition("=")
        if equals and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", name) and self._hides(name, value):
            self.counts["value of a credential's name"] += 1
            return f"{name}={REDACTED}"
        return self._string(word)
