"""A minimal trainer of NVLM-D, -X and -H, and the validation that compares mixtures with it."""
