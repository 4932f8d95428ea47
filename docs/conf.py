"""The documentation site: ``python -m sphinx -W -n -j auto docs build``."""

import inspect
import pkgutil
import re
import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

# Sphinx reads files in this folder only. Links from a notebook to a page are as in the repository.
NOTEBOOKS = Path(__file__).parent / "notebooks"
for notebook in (ROOT / "notebooks").glob("*.ipynb"):
    text = notebook.read_text(encoding="utf-8").replace("](../docs/", "](../")
    (NOTEBOOKS / notebook.name).write_text(text, encoding="utf-8")

project = "seqjax"
author = "The seqjax authors"
copyright = "The seqjax authors. Apache-2.0"
version = release = installed_version("seqjax")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = []

# MyST. Pages whose code blocks are code cells are run, and show what they print; notebooks are
# shown with the outputs that they hold.
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_excludepatterns = ["notebooks/*"]
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True
nb_render_markdown_format = "myst"  # with tables, unlike the default

# Reference.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_attr_annotations = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
# Names that get no link: type aliases, and objects of other projects, whose sites cannot be asked,
# since the build needs no network.
NOT_LINKED = {
    "Array", "ArrayTree", "PyTree", "Size", "abc", "collections", "flax", "glob", "jax", "jnp",
    "nnx", "np", "numpy", "optax", "pathlib", "tf", "zlib",
}  # fmt: skip

html_theme = "sphinx_book_theme"
html_title = "seqjax"
html_theme_options = {
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "home_page_in_toc": True,
    "navbar_persistent": [],  # the search field is in the sidebar
}
html_static_path = ["_static"]
html_css_files = ["seqjax.css"]


def canonical_name(name: str) -> str | None:
    """Where an object is defined that ``name`` leads to, such as ``seqjax.LSTM``."""
    try:
        # imports the modules in the name, which a parallel build has imported in other processes
        value = pkgutil.resolve_name(name)
        value = getattr(value, "fget", value)  # of a property
        return f"{value.__module__}.{value.__qualname__}"
    except (AttributeError, ImportError, ValueError):
        return None


def find_object(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element
) -> nodes.Element | None:
    """Resolve `LSTM`, `unroll` or `Cell.step` in a docstring, wherever it is documented."""
    if node["refdomain"] != "py":
        return None
    target = node["reftarget"]
    if target.split(".")[0] in NOT_LINKED:
        return content
    objects = env.domains.python_domain.objects
    own_module = f"{node.get('py:module')}."
    for prefix in ("", own_module, "seqjax.", "seqjax.cells.", "seqjax.wrappers."):
        name = canonical_name(prefix + target) or ""
        entry = objects.get(name)
        owner, _, attribute = name.rpartition(".")
        if entry is None and owner in objects:  # a method is known by the name that the page shows
            entry = objects.get(f"{objects[owner].node_id}.{attribute}")
        if entry is not None:
            return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, content)
    return None


def skip_fields(app: Sphinx, what: str, name: str, value: Any, skip: bool, options: Any) -> Any:
    """Leave out the fields of named tuples, which the class's docstring describes."""
    if type(value).__name__ == "_tuplegetter":
        return True
    return None


def name_functions(
    app: Sphinx, what: str, name: str, value: Any, options: Any, signature: str, returns: str
) -> tuple[str, str] | None:
    """Show a default that is a function by its name, and one made at each call as ``...``."""
    if not signature:
        return None
    try:
        parameters = inspect.signature(value).parameters
    except ValueError:  # an alias of a built-in class
        return None
    for parameter in parameters.values():
        shown = getattr(parameter.default, "__name__", "...")
        signature = re.sub(rf"(\b{parameter.name}=)<.*?>+(?=[,)])", rf"\1{shown}", signature)
    return signature, returns


def setup(app: Sphinx) -> None:
    """Register the handlers."""
    app.connect("autodoc-process-signature", name_functions)
    app.connect("missing-reference", find_object)
    app.connect("autodoc-skip-member", skip_fields)
