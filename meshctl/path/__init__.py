"""The request path: joins rules, proxies and Kubernetes into hops and one outcome. Pure."""
