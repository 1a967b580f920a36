"""Stands for `gateway.supervision.child` while supervisors that know only this name still run."""

from gateway.supervision.child import _main

if __name__ == "__main__":
    _main()
