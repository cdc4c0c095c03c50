import re

from curate.synth import defects, mathematics
from curate.synth.item import stream
from curate.synth.mathematics import calculate

STEP = re.compile(r"<<(\d+)([-+*/])(\d+)=(\d+)>>(\d+)")


def steps(answer: str) -> list[tuple[bool, str]]:
    return [
        (calculate(int(a), op, int(b)) == int(c) and (op != "/" or int(a) % int(b) == 0), c)
        for a, op, b, c, again in STEP.findall(answer)
        if c == again
    ]


def balanced(text: str) -> bool:
    pairs = [("{", "}"), (r"\begin", r"\end"), (r"\left", r"\right")]
    return all(text.count(a) == text.count(b) for a, b in pairs) and text.count("$") % 2 == 0


def test_clean_solutions_hold() -> None:
    for i in range(300):
        answer = mathematics.record(mathematics.story(stream("t", i))).fields["answer"]
        found = steps(answer)
        assert found
        assert all(ok for ok, _ in found), answer
        assert answer.endswith(f"#### {found[-1][1]}")
        assert int(found[-1][1]) >= 0


def test_wrong_solutions_have_one_wrong_step() -> None:
    for i in range(300):
        answer = mathematics.wrong_answer(stream("t", i)).fields["answer"]
        assert sum(not ok for ok, _ in steps(answer)) == 1, answer


def test_latex_is_balanced_until_it_is_broken() -> None:
    for i in range(200):
        fields = mathematics.record(mathematics.latex(stream("t", i))).fields
        assert balanced(fields["answer"])
        assert balanced(fields["question"])
        assert not balanced(defects.broken_latex(fields["answer"], stream("b", i)))
        formula = mathematics.formula(stream("t", i)).fields["answer"]
        assert balanced(formula)
        assert not balanced(defects.broken_latex(formula, stream("b", i)))
