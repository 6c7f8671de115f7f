"""Results into blocks and JSON documents: words and columns live here and nowhere else."""
