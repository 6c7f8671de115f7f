"""One file a command group; a command gathers, thinks and shows. No logic."""
