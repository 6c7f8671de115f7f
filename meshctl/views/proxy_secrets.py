"""A proxy's secrets and certificates: names, states and dates, never what is in them."""

from collections.abc import Sequence
from typing import Any

from meshctl.blocks import Block, Column, Heading, Page, Table
from meshctl.envoy.model.state import Secret
from meshctl.envoy.server_info import Certificate
from meshctl.views.proxy import path, titled


def document(name: str, secrets: Sequence[Secret], certificates: Sequence[Certificate]) -> dict[str, Any]:
    """``meshctl.proxy-secrets/v1``: names and states, and the certificates in use; never their content."""
    return {
        "schema": "meshctl.proxy-secrets/v1",
        "proxy": name,
        "items": [
            {"name": s.name, "kind": s.kind, "state": s.state, "updated": s.updated or None, "path": path(s.origin)}
            for s in secrets
        ],
        "certificates": [
            {
                "kind": c.kind,
                "serial": c.serial,
                "names": list(c.names),
                "not_before": c.not_before,
                "not_after": c.not_after,
            }
            for c in certificates
        ],
    }


def page(name: str, secrets: Sequence[Secret], certificates: Sequence[Certificate]) -> Page:
    """A row a secret, then a row a certificate in use."""
    blocks: list[Block] = []
    if secrets:
        columns = (Column("SECRET", keep=9), Column("KIND"), Column("STATE"), Column("UPDATED", keep=2))
        blocks.append(Table(columns, tuple((s.name, s.kind, s.state, s.updated) for s in secrets)))
    if certificates:
        columns = (
            Column("CERTIFICATE", keep=9),
            Column("SERIAL", keep=2),
            Column("FROM", keep=3),
            Column("UNTIL", keep=8),
        )
        rows = tuple((", ".join(c.names) or c.kind, c.serial, c.not_before, c.not_after) for c in certificates)
        blocks += [Heading("Certificates in use"), Table(columns, rows)]
    return titled("Secrets", name, blocks, "the dump names no secret")
