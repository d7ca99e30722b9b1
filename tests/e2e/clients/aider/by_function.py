"""aider with the coder that writes a file through a tool call: it ships one and leaves it out of its list."""

import sys

from aider import coders  # type: ignore[import-not-found,unused-ignore]
from aider.coders.single_wholefile_func_coder import (  # type: ignore[import-not-found,unused-ignore]
    SingleWholeFileFunctionCoder,
)
from aider.main import main  # type: ignore[import-not-found,unused-ignore]


class ByFunction(SingleWholeFileFunctionCoder):  # type: ignore[misc,unused-ignore]
    def add_assistant_reply_to_cur_messages(self) -> None:
        """Theirs wants an argument that is no longer given; its base writes the call into the history, as JSON."""
        self.partial_response_function_call = dict(vars(self)["partial_response_function_call"])
        coders.Coder.add_assistant_reply_to_cur_messages(self)


coders.__all__.append(ByFunction)
sys.exit(main())
