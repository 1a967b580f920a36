"""A compiled copy of the program: `python -m scripts.compiling FOLDER` (`make compiled`).

The copy is the whole program as it stands, sources included; beside the sources of the hot modules lie the same
as C extensions, which Python prefers. Nothing in the sources knows of it: what C needs to be told, which
attributes a class has and of what types, is read from `__slots__`, annotations and `__init__`.

- `modules` says which modules are compiled.
- `program` reads them: which classes become C structures, and what an annotation means in C.
- `declarations` writes that down as Cython reads it (one `.pxd` file a module).
- `staging` gives the sources to Cython, line by line as they are but for what a C structure cannot have.
- `building` runs Cython and the C compiler.
- `freshness` says whether a copy is of these sources.
"""

__all__: list[str] = []
