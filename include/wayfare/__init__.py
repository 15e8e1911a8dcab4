"""Wayfare: behavior analytics for travel agencies.

Belongs here: everything that runs without Airflow, in a notebook, a test or a task.
Does not: anything that imports Airflow (see plugins/wayfare_airflow).
"""
