"""What is protected: registration of apps by `app.yaml`.

Begin with `registry`, from a file to records or all its faults: `source` gives values their positions, `form` says
which keys there are, `presets` how an app may be told who asks. `probe` tries an app out before it is opened.
The admin API and trials call it; workers only ever see the records.
"""

__all__: list[str] = []
