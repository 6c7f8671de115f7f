"""Shows what a service mesh did to a pod, and what will happen to a request."""

__version__ = "0.1.0"
