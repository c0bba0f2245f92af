"""Results as JSON documents, CSV, Parquet and images."""
