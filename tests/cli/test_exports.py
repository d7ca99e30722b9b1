"""Providers' exports as people save them: the figures are read, what cannot be read is said with its place."""

import json
from pathlib import Path

import pytest
import typer

from gateway.cli.exports import rows_of

HEAD = "day,model,input_tokens,output_tokens,usd,organisation\n"


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "2026-11-23T00:00:00Z,gpt,10,5,0.25,us\n",
        "\ufeff" + HEAD.replace("\n", "\r\n") + "2026-11-23,gpt,10,5.0,0.25,us\r\n",
        json.dumps({"day": "2026-11-23", "model": "gpt", "input_tokens": 10, "output_tokens": 5, "usd": "0.25"}),
    ],
)
def test_csv_and_json_lines_say_the_same(text: str, tmp_path: Path) -> None:
    (tmp_path / "export").write_text(text)
    told = {"day": "2026-11-23", "model": "gpt", "input_tokens": 10, "output_tokens": 5, "usd": "0.25"}
    assert rows_of(tmp_path / "export") == [told]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no rows"),
        (HEAD, "has no rows"),
        ("model,tokens\ngpt,5\n", "row 1: there is no 'input_tokens'"),
        (HEAD + "2026-11-23,gpt,ten,5,,\n", "row 1: input_tokens is 'ten'"),
        (HEAD + "2026-11-23,gpt,10,-5,,\n", "row 1: output_tokens is '-5'"),
        (HEAD + "2026-11-23,gpt,10,1e999999,,\n", "row 1: output_tokens is '1e999999'"),
        (HEAD + "2026-11-23,gpt,NaN,5,,\n", "row 1: input_tokens is 'NaN'"),
        (HEAD + "2026-11-23,,1,5,,\n", "row 1: the model has no name"),
        ('{"model": "gpt"', "cannot be read"),
        ('{"model": "gpt", "input_tokens": 1, "output_tokens": 1}\n[]\n', "row 2: there is no 'model'"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_row(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "export").write_text(text)
    with pytest.raises(typer.Exit):
        rows_of(tmp_path / "export")
    assert said in capsys.readouterr().err
