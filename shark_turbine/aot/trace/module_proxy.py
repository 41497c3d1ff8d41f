# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What user methods receive as `self`: a view of the declared members, not the class instance."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from shark_turbine import trees
from shark_turbine.errors import SourceLocation, TracingError

from ..spec import GlobalTree, Helper, Jittable, Member, ProcedureSpec, ProgramSpec

if TYPE_CHECKING:
    from .procedure import ProcedureRecorder


class ModuleProxy:
    """`self` in a procedure: reads and assigns globals, hands out jittables and helper methods."""

    __slots__ = ("__recorder",)

    def __init__(self, recorder: ProcedureRecorder) -> None:
        object.__setattr__(self, "_ModuleProxy__recorder", recorder)

    def __getattr__(self, name: str) -> Any:
        recorder: ProcedureRecorder = object.__getattribute__(self, "_ModuleProxy__recorder")
        if name.startswith("__"):
            raise AttributeError(name)
        member = recorder.member(name)
        match member:
            case None:
                raise _unknown(recorder, name, "read")
            case GlobalTree():
                return open_globals(recorder, f"self.{name}", member.structure)
            case Jittable():
                return member
            case ProgramSpec():
                return lambda *args, **kwargs: recorder.call_program(member, args, kwargs)
            case Helper():
                return lambda *args, **kwargs: member.function(self, *args, **kwargs)
            case ProcedureSpec():
                return lambda *args, **kwargs: recorder.call_procedure(member, args, kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        recorder: ProcedureRecorder = object.__getattribute__(self, "_ModuleProxy__recorder")
        member = recorder.member(name)
        if not isinstance(member, GlobalTree):
            raise _not_assignable(recorder, name, member)
        assign_globals(recorder, f"self.{name}", member.structure, value)

    def __repr__(self) -> str:
        recorder: ProcedureRecorder = object.__getattribute__(self, "_ModuleProxy__recorder")
        return f"<self of {recorder.where}>"


class GlobalsView:
    """A structure of globals, as read: indexing gives values, assigning to an index stores."""

    __slots__ = ("_name", "_recorder", "_specs", "structure")

    def __init__(self, recorder: ProcedureRecorder, name: str, specs: Any, structure: Any) -> None:
        self._recorder = recorder
        self._name = name
        self._specs = specs
        self.structure = structure

    def __getitem__(self, key: Any) -> Any:
        try:
            specs, found = self._specs[key], self.structure[key]
        except (KeyError, IndexError, TypeError):
            raise _no_such_global(self._recorder, self._name, self._specs, key) from None
        if trees.is_leaf(specs):
            return found
        return GlobalsView(self._recorder, f"{self._name}[{key!r}]", specs, found)

    def __setitem__(self, key: Any, value: Any) -> None:
        try:
            specs = self._specs[key]
        except (KeyError, IndexError, TypeError):
            raise _no_such_global(self._recorder, self._name, self._specs, key) from None
        assign_globals(self._recorder, f"{self._name}[{key!r}]", specs, value)
        if isinstance(self.structure, tuple):
            items = list(self.structure)
            items[key] = plain(value)
            self.structure = trees.unflatten(self._specs, trees.leaves(items))
        else:
            self.structure[key] = plain(value)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise _no_such_attribute(self._recorder, self._name, self._specs, name)

    def __iter__(self) -> Iterator[Any]:
        if isinstance(self._specs, dict):
            return iter(self._specs)
        return (self[index] for index in range(len(self._specs)))

    def __len__(self) -> int:
        return len(self._specs)

    def __contains__(self, key: Any) -> bool:
        return key in self._specs

    def keys(self) -> Any:
        """Return the keys of a mapping of globals."""
        return self._specs.keys()

    def values(self) -> list[Any]:
        """Return the values of a mapping of globals."""
        return [self[key] for key in self._specs]

    def items(self) -> list[tuple[Any, Any]]:
        """Return the key and value pairs of a mapping of globals."""
        return [(key, self[key]) for key in self._specs]

    def __repr__(self) -> str:
        return repr(self.structure)


def plain(value: Any) -> Any:
    """Return a structure with every view of globals replaced by what it shows."""
    if isinstance(value, GlobalsView):
        return value.structure
    return trees.map_leaves(lambda x: x.structure if isinstance(x, GlobalsView) else x, value)


def open_globals(recorder: ProcedureRecorder, name: str, specs: Any) -> Any:
    """Read the globals of one attribute: a value, or a view of a structure of values."""
    loaded = trees.map_leaves(recorder.load_global, specs)
    return loaded if trees.is_leaf(specs) else GlobalsView(recorder, name, specs, loaded)


def assign_globals(recorder: ProcedureRecorder, name: str, specs: Any, value: Any) -> None:
    """Store a value, or a structure of values of the same shape, in globals."""
    value = plain(value)
    targets, sources = trees.leaves_with_paths(specs), trees.leaves_with_paths(value)
    expected, got = [leaf.path for leaf in targets], [leaf.path for leaf in sources]
    if expected != got:
        raise TracingError(
            f"the structure assigned to {name} is not the structure that was declared",
            where=recorder.where,
            location=recorder.user_location(),
            got=_difference(got, expected),
            expected=f"exactly {len(expected)} values: {_listed(expected)}",
            fix="assign a value for every leaf, or assign single leaves by index",
        )
    values = [leaf.value for leaf in sources]
    for target, source in zip(targets, values, strict=True):
        recorder.check_store(target.value, source)
    for target, source in zip(targets, values, strict=True):
        recorder.store_global(target.value, source)


def _difference(got: list[str], expected: list[str]) -> str:
    missing = [path for path in expected if path not in got]
    extra = [path for path in got if path not in expected]
    parts = [f"missing {_listed(missing)}"] if missing else []
    parts += [f"not declared: {_listed(extra)}"] if extra else []
    return "; ".join(parts) or f"another order: {_listed(got)}"


def _listed(paths: list[str]) -> str:
    shown = ", ".join(path or "one value" for path in paths[:6])
    return shown + (f", ... ({len(paths)} in all)" if len(paths) > 6 else "")


def _no_such_global(recorder: ProcedureRecorder, name: str, specs: Any, key: Any) -> TracingError:
    known = list(specs) if isinstance(specs, dict) else list(range(len(specs)))
    close = difflib.get_close_matches(str(key), [str(name) for name in known], n=1)
    return TracingError(
        f"{name} has no global {key!r}",
        where=recorder.where,
        location=recorder.user_location(),
        got=f"{name}[{key!r}]",
        expected=_listed([f"{name}[{one!r}]" for one in known]),
        fix=f"did you mean {name}[{close[0]!r}]?"
        if close
        else "declare it in the class body, in the structure that is exported",
    )


def _no_such_attribute(
    recorder: ProcedureRecorder, name: str, specs: Any, attribute: str
) -> TracingError:
    keys = [str(key) for key in specs] if isinstance(specs, dict) else []
    close = difflib.get_close_matches(attribute, keys, n=1, cutoff=0.3)
    return TracingError(
        f"{name} is a structure of globals: it has no attribute {attribute!r}",
        where=recorder.where,
        location=recorder.user_location(),
        got=f"{name}.{attribute}",
        expected=_listed([f"{name}[{one!r}]" for one in keys] or [f"{name}[0]"]),
        fix=f"{name}[{close[0]!r}]" if close else f"index it: {name}[...]",
    )


def _unknown(recorder: ProcedureRecorder, name: str, verb: str) -> TracingError:
    close = difflib.get_close_matches(name, recorder.member_names(), n=1)
    return TracingError(
        f"self.{name} is {verb}, but the class declares no {name!r}",
        where=recorder.where,
        location=recorder.user_location(),
        got=f"self.{name}",
        expected=f"one of: {_listed(recorder.member_names())}",
        fix=f"did you mean self.{close[0]}?" if close else "declare it in the class body",
    )


def _not_assignable(recorder: ProcedureRecorder, name: str, member: Member | None) -> TracingError:
    if member is None:
        return _unknown(recorder, name, "assigned")
    location: SourceLocation | None = recorder.user_location()
    return TracingError(
        f"self.{name} is assigned, but it is no global",
        where=recorder.where,
        location=location,
        got=str(member),
        expected="an attribute declared with aot.export_global(..., mutable=True)",
        fix=f"declare {name} = aot.export_global(..., mutable=True), or use another name",
    )
