"""``python -m meshctl`` and the ``meshctl`` command."""


def main() -> None:
    """Run the command line."""
    from meshctl.cli.app import app

    app()


if __name__ == "__main__":
    main()
