"""Results for somebody else: self-contained HTML files, plots, and files of maps."""
