"""Mesh resources as frozen models (VirtualService, DestinationRule, policies ...). No fetching."""
