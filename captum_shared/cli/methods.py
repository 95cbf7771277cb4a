"""``captum-shared methods``: all methods by name."""

import typer

from captum_shared.cli.app import app, told


@app.command(epilog="Example: captum-shared methods")
@told
def methods() -> None:
    """List the methods: name, what it looks at, its cost in passes of both images through the network."""
    from captum_shared.methods import DEFAULT_METHODS, LOOKS_AT, METHODS

    widths = max(map(len, METHODS)), max(len(method.title) for method in METHODS.values())
    for family, looks_at in LOOKS_AT.items():
        members = [method for method in METHODS.values() if method.family == family]
        if members:
            typer.echo(f"\n{family}: {looks_at}")
        for method in members:
            forward, backward = method.passes or ("?", "?")
            cost = f"{forward} forward, {backward} backward"
            package = f", by {method.package}" if method.package else ""
            default = ", shown by default" if method.name in DEFAULT_METHODS else ""
            typer.echo(f"  {method.name:<{widths[0]}}  {method.title:<{widths[1]}}  {cost}{package}{default}")
