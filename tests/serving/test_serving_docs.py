"""The program in ``docs/serving.md`` runs."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text("utf-8")


def test_the_program_for_the_openai_client_prints_thinking_and_answer(rig, capsys):
    rig.shelf.aliases["syllogism"] = "thinker"
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(program.replace("http://127.0.0.1:8000", rig.url), {})
    thinking, answer = capsys.readouterr().out.split("\n\n", 1)
    assert thinking.strip()
    assert answer.strip()
