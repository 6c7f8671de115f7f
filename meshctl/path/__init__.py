"""The request path: joins rules, proxies and Kubernetes into hops and one outcome. Pure.

A trace goes through these in order, and each imports only those below it:

- ``trace`` asks; ``matrix`` asks for every caller and service, ``why_here`` for what a log shows.
- ``joining`` and ``findings``: from the ways that a request may take to one outcome, and what is wrong.
- ``lookup`` (``dns``) and ``leaving``: the caller's pod, to its proxy, its node's ``ztunnel``, or out.
- ``client`` and ``upstream``: the sending proxy's decision, the hosts of a cluster, the connection to each.
- ``network`` (``kube_proxy``): between the pods, to a pod, a node or the world outside.
- ``server`` (``ambient``, ``sockets``): the callee's rules, its proxy or ztunnel, and what listens there.
- ``entering``: in at a listener of a gateway's or a sidecar's own; it leads back up to ``client``.

What they decide by: ``decision`` of a proxy's configuration; ``resources``, ``gateway_resources``, ``policies`` and
their rules where that was not recorded; ``stale`` compares both. What they look at is a ``scene``, what they say is
the ``model``.
"""
