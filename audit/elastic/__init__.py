"""The way to Elasticsearch, without loss and duplicates."""
