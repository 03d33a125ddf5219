"""Greets through a Jinja template."""

import pathlib
import sys

import jinja2

here = pathlib.Path(__file__).parent
template = jinja2.Template((here / "greeting.txt").read_text(), autoescape=False)
print(template.render(names=sys.argv[1:], version=jinja2.__version__))
