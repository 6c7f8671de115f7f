"""The slice of Kubernetes that meshctl reads: pods, services, endpoints, owners as frozen models. No fetching."""
