"""Evidence bundles: records of one case or period with all that proves them, for people who have nothing of ours.

`selection` says which records, `covered` gives each its leaf and proof, in the order of the log and in constant memory;
`contents` makes the files of the bundle out of them, with a manifest; `child` is the process that does it for control.
`verify_bundle` and `readme.txt` go into each bundle: the stand-alone verifier imports nothing of ours.
"""

__all__: list[str] = []
