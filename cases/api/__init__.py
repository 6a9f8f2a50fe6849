"""The HTTP API of cases: viewsets scope, validate and call one service or search."""
