"""Other ways out of the same documents, each with a cursor of its own: none waits for another, nor for Elasticsearch.

Begin with `follow`, the task that brings what the journals have grown by to one outlet and keeps its `place`. `ndjson`
is a file of `nested` ECS lines for Elastic Agent, Filebeat and their like; `syslog` sends each document as a `message`
of RFC 5424 over TLS. `start` is what the auditor knows of all this: arguments and tasks.
"""

__all__: list[str] = []
