"""`make chaos`: the installation of docker-compose.yaml under load while its services are killed at random.

Belongs here: the load, the killing, and the verdict: staged is what was acknowledged, and the marts are those of a
clean run over the same events. Does not: how the services are started (`e2e.native`).
"""
