"""What docs/benchmarks.md claims, measured: `python -m benchmarks --help`."""
