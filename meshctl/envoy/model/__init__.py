"""The nouns of a proxy's configuration, in Envoy's own words (API v3): parsed from a config dump, frozen after that.

From the bottom up: basics, matching and sockets; filters, routes, managers and listeners; clusters; state. What meshctl
can show but not judge is kept as `Opaque`.
"""
