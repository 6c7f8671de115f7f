"""What the injection webhook did to a pod, and why. Pure; knows no rules and no Envoy."""
