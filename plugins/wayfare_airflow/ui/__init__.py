"""Wayfare's pages in the Airflow UI: marts, verdicts of the gates, Data Docs.

Belongs here: pages to look at, for people whom Airflow lets in. Does not: anything that changes something.
"""
