"""What is protected: registration of apps by `app.yaml`.

Begin with `registry`, from a file to records or all its faults: `source` gives values their positions, `form` says
which keys there are, `presets` how an app may be told who asks. `probe` tries an app out before it is opened: `walk`
goes through it as a browser behind the gateway would, and `strictness` says what of it will not pass, with the remedy.
The admin API and trials call it; workers only ever see the records.
"""

__all__: list[str] = []
