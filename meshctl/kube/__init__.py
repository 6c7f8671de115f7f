"""The slice of Kubernetes that meshctl reads, as frozen models: pods, services, endpoints, owners. No fetching."""
