"""The world: fetches raw bytes and judges nothing. No parsing beyond what fetching needs."""
