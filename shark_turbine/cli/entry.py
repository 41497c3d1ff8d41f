# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`main`: the group of all commands, and how each way of ending becomes words and an exit code."""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import NoReturn

import click

from shark_turbine import __version__
from shark_turbine.errors import CommandLineError, TurbineError

from . import exits, output
from .doctor import doctor
from .export import export
from .fixes import say_fix_for_command_line
from .inspect import inspect
from .run import run
from .targets import targets
from .versions import versions

_NAME = "shark-turbine"
_COMPLETION = "_SHARK_TURBINE_COMPLETE"
_TRACEBACK = "--traceback"


class _InOrder(click.Group):
    """A group that lists its commands in the order in which people need them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, message=f"{_NAME} %(version)s")
@click.option(
    _TRACEBACK, is_flag=True, help="Print the Python traceback of errors too, for reports of bugs."
)
def command(traceback: bool) -> None:
    """PyTorch programs as IREE artifacts: compile, run and look into .vmfb files.

    Exit codes: 0 done, 1 a check found a problem, 2 a mistake in what was given, 3 the program cannot
    be compiled, 4 the call failed, 70 a bug of shark-turbine, 130 interrupted.
    """


for each in (export, run, inspect, targets, doctor, versions):
    command.add_command(each)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; `exits` has the codes.

    Args:
        arguments: the words after the command's name; None takes them from `sys.argv`.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:
        _be_the_program()
    try:
        code = _run(words)
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        return exits.BROKEN_PIPE
    return code


def _be_the_program() -> None:
    """Do what is done once in a process that is nothing but this command."""
    if _COMPLETION in os.environ:
        command.main(prog_name=_NAME, complete_var=_COMPLETION)
    warnings.showwarning = output.show_warning
    # Children are ended and files put away on the way out, as after Ctrl-C.
    signal.signal(signal.SIGTERM, _terminate)


def _terminate(*_: object) -> NoReturn:
    sys.exit(exits.TERMINATED)


def _run(words: list[str]) -> int:
    try:
        with command.make_context(_NAME, list(words)) as context:
            code = command.invoke(context)
        return code if isinstance(code, int) else exits.FINE
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.exceptions.NoArgsIsHelpError as nothing_said:
        nothing_said.show()
        return exits.MISTAKE
    except click.ClickException as mistake:
        return _report(_explained(mistake), words)
    except TurbineError as error:
        return _report(error, words)
    except (KeyboardInterrupt, click.Abort):
        output.say("interrupted")
        return exits.INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception:
        traceback.print_exc()
        output.say(
            f"this is a bug of shark-turbine {__version__}, not a mistake of yours: please report it "
            f"with the lines above and what `{_NAME} doctor` prints"
        )
        return exits.BUG


def _report(error: TurbineError, words: Sequence[str]) -> int:
    if _TRACEBACK in words:
        traceback.print_exception(error)
    say_fix_for_command_line(error)
    output.say_error(error)
    if "--json" in words:
        output.print_json({"error": output.error_to_json(error)})
    return exits.code_of(error)


def _explained(mistake: click.ClickException) -> CommandLineError:
    """Say in our way what click found wrong."""
    context = mistake.ctx if isinstance(mistake, click.UsageError) else None
    path = _NAME if context is None else context.command_path
    usage = None
    if context is not None:
        usage = f"{path} {' '.join(context.command.collect_usage_pieces(context))}"
    match mistake:
        case click.exceptions.NoSuchOption(option_name=name):
            return _unknown("option", name, mistake.possibilities, path, usage)
        case click.exceptions.NoSuchCommand(command_name=name):
            return _unknown(
                "command", name, mistake.possibilities, path, ", ".join(command.commands)
            )
        case _:
            text = mistake.format_message().rstrip(".")
            return CommandLineError(
                text[:1].lower() + text[1:], expected=usage, fix=f"{path} --help says more"
            )


def _unknown(
    kind: str, name: str, close: Sequence[str] | None, path: str, expected: str | None
) -> CommandLineError:
    return CommandLineError(
        f"there is no {kind} {name!r}",
        expected=expected,
        fix=f"did you mean {close[0]!r}?" if close else f"{path} --help lists what there is",
    )


def _drop_output() -> None:
    """Give the rest of the output to nobody: who read it has gone, and need not be told."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
