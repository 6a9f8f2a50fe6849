"""dataMortem: evidence in, one searchable timeline out."""
