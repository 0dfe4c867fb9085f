"""Code that a row of a registry names as "module:function", imported when it is needed."""

from importlib import import_module


def load_code(reference: str) -> object:
    """Import what `reference` names; the caller casts it to the type that its side knows.

    The registries lie below both the login side and the ranks, so they can import neither; a reference also costs
    nothing until it is used. Python keeps imported modules, so repeated calls are cheap.

    Args:
        reference: "module:name" of a function or class, like ``"bertjob.launch.pmi:srun"``.

    Raises:
        ValueError: `reference` does not have this form.
        ImportError: there is no such module, it cannot be imported, or it defines no such name.
    """
    module_name, _, name = reference.partition(":")
    if not (module_name and name.isidentifier()):
        raise ValueError(f'expected "module:name", got {reference!r}')
    module = import_module(module_name)
    try:
        return getattr(module, name)
    except AttributeError:
        raise ImportError(f"{reference}: {module_name} does not define {name!r}", name=module_name) from None
