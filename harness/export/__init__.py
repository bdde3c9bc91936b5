"""What a run has found, for other programs: tables as CSV and Parquet, the summary as OpenMetrics."""
