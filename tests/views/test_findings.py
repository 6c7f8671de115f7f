import json
from pathlib import Path

import jsonschema

from meshctl.checks.finding import Finding
from meshctl.render import terminal
from meshctl.views import findings as view

FOUND = (
    Finding(id="MC101", severity="error", subject="pod/n/a", text="wrong", evidence="spec", fix="right"),
    Finding(id="MC113", severity="info", subject="pod/n/b", text="odd"),
)


def test_the_document_fulfils_its_contract() -> None:
    schema = json.loads((Path(__file__).parents[2] / "meshctl" / "schemas" / "findings.json").read_text())
    document = view.document(FOUND, ["n/a", "n/b"])
    jsonschema.Draft202012Validator(schema).validate(document)
    assert document["counts"] == {"error": 1, "warning": 0, "info": 1}
    assert document["findings"][0]["docs"] == "docs/findings.md#mc101"


def test_sarif_names_rules_levels_and_places() -> None:
    run = json.loads(view.sarif_text(FOUND))["runs"][0]
    assert [r["id"] for r in run["tool"]["driver"]["rules"]] == ["MC101", "MC113"]
    assert [r["level"] for r in run["results"]] == ["error", "note"]
    assert run["results"][0]["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == "pod/n/a"


def test_the_page_has_the_worst_first_and_says_when_all_is_well() -> None:
    text = terminal.draw(view.page(FOUND, ["n/a", "n/b"]), width=100, color=False)
    assert text.index("MC101") < text.index("MC113")
    assert "1 error, 0 warnings, 1 remark on 2 pods" in text
    assert "nothing is wrong" in terminal.draw(view.page((), ["n/a"]), width=100, color=False)
