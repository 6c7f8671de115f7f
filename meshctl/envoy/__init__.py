"""One proxy's own configuration, and what it decides for a request. Pure; knows no cluster."""
