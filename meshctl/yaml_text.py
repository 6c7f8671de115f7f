"""YAML in and out, with PyYAML imported only when there is YAML to read or write."""

from typing import Any

from meshctl.errors import BadInput


def _loader() -> Any:
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def documents(text: str, source: str) -> tuple[Any, ...]:
    """Parse every document of a YAML (or JSON) text; empty documents are left out.

    Raises BadInput with the file and the line where the YAML is broken.
    """
    import yaml

    try:
        return tuple(doc for doc in yaml.load_all(text, _loader()) if doc is not None)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise BadInput(f"{source}{place}: not valid YAML: {problem}") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{source}: not valid YAML: {error}") from error


def dump(document: Any) -> str:
    """Write one document as YAML, keys in the order given, text unescaped where it can be."""
    import yaml

    dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump(document, Dumper=dumper, sort_keys=False, allow_unicode=True, width=110))
