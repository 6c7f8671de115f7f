"""What credentials look like: the names that they go by, and the shapes that they have. Pure tables and predicates.

A name decides for what is called by it (a variable, an argument, an annotation, a key in a connection string); a shape
decides wherever it occurs. Neither finds a password in a place that says nothing, such as ``-p hunter2``.
"""

import re
from functools import cache

from meshctl.withheld import REDACTED

HARMLESS = frozenset(
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
"""What Istio's own containers have, and what no credential is in."""

KEY_MATERIAL = frozenset(
    ("private_key", "session_ticket_keys", "private_key_provider", "generic_secret", "password", "hmac_secret")
) | frozenset(("accessToken", "access_token", "apiKey", "api_key", "clientSecret", "client_secret", "bearerToken"))
"""Keys of Envoy's and Istio's own configuration, and of what it hands to others (tracing, rate limits)."""

_WORDS = (
    r"passw|passphrase|(?<![a-z])pass(?![a-z])|(?-i:(?<=[a-z])Pass(?![a-z]))|(?<![a-z])p(?:w|wd|at)(?![a-z])|secret|token"
    r"|api[-_.]?key|access[-_.]?key|account[-_.]?key|private[-_.]?key|encryption[-_.]?key|signing[-_.]?key"
    r"|client[-_.]?key|shared[-_.]?key|credential|(?<![a-z])creds?(?![a-z])|connection[-_.]?string"
    r"|(?<![a-z])dsn(?![a-z])|(?<![a-z])(?:auth|authorization)(?![a-z])|(?<![a-z])cookie|webhook[-_.]?url"
    r"|shared[-_.]?access[-_.]?signature|(?<![a-z])(?:hmac|otp|salt)(?![a-z])"
)
_ABOUT_ONE = re.compile(
    r"(?:file|files|path|dir|directory|name|namespace|ttl|ratio|audiences?|ur[il]|type|mode|policy|id|expiry|expiration"
    r"|expires|timeout|duration|enabled?|required?|length|size|count|through|header|issuer|provider|interval|refresh"
    r"|rotation|ref|method|algorithm|format|lifetime|min|max|review|proxy|plugin|config|class)$",
    re.IGNORECASE,
)


@cache
def _secret_name() -> re.Pattern[str]:
    return re.compile(_WORDS, re.IGNORECASE)


def names_secret(name: str) -> bool:
    """Whether what goes by this name is a credential: DB_PASSWORD, apiKey, vault.token."""
    return name not in HARMLESS and bool(_secret_name().search(name))


def is_secret_flag(word: str) -> bool:
    """Whether an argument's value is a credential: ``--db-pass``, ``--token``; not ``--token-file``."""
    return word.startswith("-") and names_value(word)


def names_value(name: str) -> bool:
    """Whether a name in a text stands for a credential itself, and not for its file, kind or age."""
    return names_secret(name) and not _ABOUT_ONE.search(name)


def is_secret_annotation(key: str, value: str) -> bool:
    """Whether an annotation holds a credential; those of Istio and Kubernetes hold none, nor does a yes or no."""
    domain = key.partition("/")[0] if "/" in key else ""
    own = domain.endswith(("istio.io", "kubernetes.io", "k8s.io"))
    return not own and is_secret_value(value) and names_value(key)


def is_secret_value(value: str) -> bool:
    """Whether a value can be a credential at all: no yes or no, no file, nothing that is filled in later."""
    return bool(value) and value.lower() not in _NO_SECRETS and not value.startswith(("/", "$", "{{", "%", "("))


_NO_SECRETS = frozenset(("true", "false", "yes", "no", "on", "off", "null", "none", "0", "1", REDACTED.lower()))

USER_FLAGS = frozenset(("-u", "-U", "--user", "--proxy-user"))
"""curl's and wget's; ``-u 1000:1000`` of docker is a user and a group."""


def hidden_login(word: str) -> str | None:
    """``user:password`` without the password; None where it is none."""
    user, colon, password = word.partition(":")
    if not colon or not is_secret_value(password) or "/" in user or password.isdigit():
        return None
    return f"{user}:{REDACTED}"


@cache
def assignments() -> re.Pattern[str]:
    """NAME=VALUE in a text (a shell's export, a connection string, a URL's query), and ``--flag VALUE``.

    Its groups: all before the value, the name, or the flag that a blank ends, and the value with its quotes.
    """
    return re.compile(
        r"((?<![\w.$-])(-{0,2}[A-Za-z_][\w.-]{0,80})=|(?<![\w.$-])(--[A-Za-z][\w.-]{0,80})[ \t]+)"
        r"(\"[^\"\n]*\"|'[^'\n]*'|[^\s\"',;&|<>)\]}\\]+)"
    )


_WEBHOOKS = (
    r"hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)|discord(?:app)?\.com/api/webhooks"
    r"|[\w.-]*webhook\.office\.com/webhookb2|outlook\.office(?:365)?\.com/webhook|hooks\.zapier\.com/hooks"
    r"|api\.telegram\.org/bot|open\.(?:feishu\.cn|larksuite\.com)/open-apis/bot/v2/hook|[\w.:-]+/hooks"
)


@cache
def shapes() -> tuple[tuple[str, re.Pattern[str], str], ...]:
    """What kind it is, how it looks wherever it stands, and what stands there instead."""
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
                r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|gl(?:pat|rt|dt|oas)-[A-Za-z0-9_-]{15,}"
                r"|xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{30,}"
                r"|ya29\.[A-Za-z0-9_-]{20,}|sk-[A-Za-z0-9_-]{20,}|[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"
                r"|hv[sbr]\.[A-Za-z0-9_-]{20,}|npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{30,}|dckr_[po]at_[A-Za-z0-9_-]{20,}"
                r"|do[opr]_v1_[a-f0-9]{40,}|shp(?:at|ca|pa|ss)_[A-Za-z0-9]{20,}|SG\.[\w-]{16,}\.[\w-]{30,}"
                r"|AGE-SECRET-KEY-1[A-Z0-9]{50,})"
            ),
            REDACTED,
        ),
        (
            "password in a URL",
            re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s/:@\"']*:)(?!REDACTED@)[^\s/@\"']+(?=@)", re.I),
            rf"\1{REDACTED}",
        ),
        (
            "password in a URL",
            re.compile(r"(\b[\w.-]+:)(?!REDACTED@)[^\s/@:\"']+(?=@(?:tcp|tcp4|tcp6|unix)\()"),
            rf"\1{REDACTED}",
        ),
        (
            "URL of a webhook",
            re.compile(rf"(https?://(?:{_WEBHOOKS})(?:/|(?<=/bot)))(?!REDACTED)[^\s\"'<>\\]+", re.I),
            rf"\1{REDACTED}",
        ),
        (
            "signature in a URL",
            re.compile(
                r"([?&](?:key|sig|signature|X-Amz-(?:Signature|Credential)|X-Goog-Signature)=)(?!REDACTED)[^&\s\"'#]+"
            ),
            rf"\1{REDACTED}",
        ),
        ("token", re.compile(r"\b((?:Bearer|Basic)\s+)(?!REDACTED)[A-Za-z0-9+/=_.~-]{8,}", re.I), rf"\1{REDACTED}"),
        (
            "header",
            re.compile(r"(\b\w+-(?:\w+-)?(?:key|token|secret)\s*:\s+)(?!REDACTED)[^\s\"',;]{4,}", re.I),
            rf"\1{REDACTED}",
        ),
    )
