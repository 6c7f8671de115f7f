"""``python -m meshctl`` and the ``meshctl`` command."""

import os
import sys


def main() -> None:
    """Run the command line."""
    try:
        _open_closed_streams()
        from meshctl.cli.app import app

        app()
    except (KeyboardInterrupt, RuntimeError) as error:  # while modules are imported; later the boundary has it
        from meshctl.errors import ExitCode, is_interrupt

        if not is_interrupt(error):
            raise
        print("interrupted", file=sys.stderr)
        sys.exit(ExitCode.INTERRUPTED)


def _open_closed_streams() -> None:
    """Fill what the caller closed of the descriptors 0, 1 and 2, lest a file that is read or written takes its place.

    Whoever closed stdout hears that nothing can be written; what goes to a closed stderr is lost, as it was.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            flags = os.O_WRONLY if name == "stderr" else os.O_RDONLY
            if os.open(os.devnull, flags) == number:
                setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115 (a descriptor, kept open)


if __name__ == "__main__":
    main()
