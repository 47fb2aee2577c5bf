"""Training: the jitted update, the loop around it on the host, and evaluation."""
