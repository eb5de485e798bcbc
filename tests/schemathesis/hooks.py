# SPDX-License-Identifier: Apache-2.0
"""What schemathesis is told of this service: values for the parts of paths that are there, and what would not end."""
import json
import os

import schemathesis

with open(os.environ["TAILOR_VALUES"]) as f:
    VALUES = json.load(f)


def known(path, name):
    """The values that may stand in {name} of this path."""
    if name in VALUES:
        return VALUES[name]
    return VALUES[path.split("/")[2].split(":")[0]] if name == "id" else VALUES["names"]


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Three of four times something that is there. A token always: else it would be the one that asks."""
    path = context.operation.path
    for name, value in (path_parameters or {}).items():
        draw = sum(map(ord, str(value)))
        if draw % 4 or "/tokens/" in path:
            choices = known(path, name)
            path_parameters[name] = choices[draw % len(choices)]
    return path_parameters


@schemathesis.hook
def before_call(context, case, kwargs):
    """A stream that follows has no end."""
    if case.query and "follow" in case.query:
        case.query = {name: value for name, value in case.query.items() if name != "follow"}
