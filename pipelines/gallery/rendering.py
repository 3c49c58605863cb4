"""The gallery's HTML: Jinja2 templates that escape every value, and the page's style and script."""

import base64
import hashlib
from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup


def template(name: str) -> Template:
    """A template of this package. It escapes what it is given, unless that is `Markup`."""
    return _environment().get_template(name)


def render(name: str, **values: object) -> Markup:
    """A part of the page, ready to be put into another template."""
    return Markup(template(name).render(**values))


@cache
def static_file(name: str) -> Markup:
    """The style or the script, as the page contains it."""
    file = resources.files(__package__) / "templates" / name
    return Markup(file.read_text(encoding="utf-8"))


def security_policy(style: str, script: str) -> str:
    """A Content-Security-Policy that allows this style, this script and inline images only."""
    return (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src 'sha256-{_sha256(style)}'; script-src 'sha256-{_sha256(script)}'"
    )


def encode(html: str) -> bytes:
    """UTF-8. A file name with bytes outside UTF-8 shows them as escapes such as `\\udce9`."""
    return html.encode("utf-8", "backslashreplace")


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
