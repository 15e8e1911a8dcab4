"""The collector: events over HTTP, each answered when it is durable.

Belongs here: requests, their producers and limits, and gathering them into batches. Does not: decoding and staging
(landing), or connections to the broker (`wayfare.landing.brokers`).
"""
