"""Cases: evidence in, one timeline out."""
