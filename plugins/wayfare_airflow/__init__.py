"""Wayfare in Airflow: operators, the DAG factory, the staging watcher, links and the UI pages.

Belongs here: everything that imports Airflow. Does not: any work on events or marts; that is `wayfare`'s, and runs
without Airflow.
"""
