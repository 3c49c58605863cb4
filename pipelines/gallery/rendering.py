"""The HTML of the gallery: Jinja2 templates that escape every value, and the style and script."""

import base64
import hashlib
from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup


def template(name: str) -> Template:
    """Return a template of this package, which escapes every value that is not `Markup`."""
    return _environment().get_template(name)


def render(name: str, **values: object) -> Markup:
    """Render a template as `Markup`, ready to be inserted into another template."""
    return Markup(template(name).render(**values))


@cache
def static_file(name: str) -> Markup:
    """Return the style or the script as the page contains it."""
    file = resources.files(__package__) / "templates" / name
    return Markup(file.read_text(encoding="utf-8"))


def security_policy(style: str, script: str) -> str:
    """Return a Content-Security-Policy that allows only this style, this script and data images."""
    return (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src 'sha256-{_sha256(style)}'; script-src 'sha256-{_sha256(script)}'"
    )


def encode(html: str) -> bytes:
    """Encode as UTF-8; other bytes of a file name appear as escapes such as `\\udce9`."""
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
