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
    finally:
        _end_at_once_from_here()


def _end_at_once_from_here() -> None:
    """Let Ctrl-C end the process by its signal: while Python shuts down it would only show a traceback.

    What was added to a cluster is removed by now.
    """
    import signal  # above, Ctrl-C would meet its import before there is anyone to say a word

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


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
