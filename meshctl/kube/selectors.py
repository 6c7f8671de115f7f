"""Label selectors: ``matchLabels`` and ``matchExpressions`` of meta/v1 LabelSelector."""

from collections.abc import Mapping

from meshctl.frozen import dataclass
from meshctl.kube.fields import Fields, shown


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label: `operator` is In, NotIn, Exists, DoesNotExist, or something that is not known."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def __str__(self) -> str:
        match self.operator:
            case "In":
                return f"{self.key} is {' or '.join(self.values)}"
            case "NotIn":
                return f"{self.key} is not {' or '.join(self.values)}"
            case "Exists":
                return f"{self.key} is set"
            case "DoesNotExist":
                return f"{self.key} is not set"
            case _:
                return f"{self.key} {self.operator} {','.join(self.values)}"

    def holds(self, labels: Mapping[str, str]) -> bool | None:
        """Whether the labels fulfil it; None for an operator that is not known. NotIn also holds without the label."""
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels
            case _:
                return None


@dataclass(frozen=True, slots=True)
class Selector:
    """All requirements together; one without any selects everything."""

    requirements: tuple[Requirement, ...] = ()

    def __str__(self) -> str:
        return " and ".join(map(str, self.requirements)) or "everything"

    def holds(self, labels: Mapping[str, str]) -> bool | None:
        """Whether the labels fulfil all; None where that cannot be told."""
        results = [r.holds(labels) for r in self.requirements]
        if False in results:
            return False
        return None if None in results else True

    def against(self, labels: Mapping[str, str]) -> tuple[Requirement, ...]:
        """The requirements that the labels do not fulfil."""
        return tuple(r for r in self.requirements if r.holds(labels) is not True)


def selector(raw: Fields) -> Selector:
    """Read a LabelSelector; a requirement that cannot be read is kept as one that cannot be judged."""
    found = [Requirement(key, "In", (value,)) for key, value in raw.strings("matchLabels").items()]
    for expression in raw.each("matchExpressions"):
        key, operator = expression.text("key"), expression.text("operator")
        if not key or not operator:
            found.append(Requirement(shown(expression.raw), "?"))
            continue
        found.append(Requirement(key, operator, expression.texts("values")))
    return Selector(tuple(found))
