"""What `gateway.doctor` looks at, a module for each place: each yields `finding`s and changes nothing.

`files` who may read what must be secret; `certificates` what browsers and devices are shown; `room` the disks;
`machine` the limits, the clock and the Python around us; `running` what the processes say of themselves; `services`
those of others.
"""

__all__: list[str] = []
