"""The sample city: an invented municipality with people, devices, apps and a foreign MDM, whole on one machine."""
