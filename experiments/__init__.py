"""Entry points, configs, paper tables and recorded results."""
